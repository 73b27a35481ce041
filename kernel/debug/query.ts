/** General queries (GDB manual, Appendix E.4, General Query Packets). */
import { describe, threads } from "./features";
import { Input } from "./input";
import { INVALID, answer, error, hexBytes, link, ok, part } from "./packet";
import { ANY, HYPERVISOR, NONE, chosen, client, greet, oneOf } from "./session";
import { note } from "./note";
import { nameThread, readThread, writeThread } from "./thread";
import { exists, nextThread } from "./vm";

const COLON: u32 = 58;
const SEMICOLON: u32 = 59;
const COMMA: u32 = 44;
const ONE: u32 = 49;

/** qSupported: who says hello, and what it can do. */
function supported(packet: Input): void {
  greet();
  packet.accept(COLON);
  while (packet.left > 0) {
    if (packet.word("multiprocess+")) client.multiprocess = 1;
    else if (packet.word("swbreak+")) client.swbreak = 1;
    else if (packet.word("hwbreak+")) client.hwbreak = 1;
    packet.skipTo(SEMICOLON);
  }
  const out = answer().str("PacketSize=1000;QStartNoAckMode+;vContSupported+;");
  out.str("qXfer:features:read+;qXfer:threads:read+");
  if (client.multiprocess) out.str(";multiprocess+");
  if (client.swbreak) out.str(";swbreak+");
  if (client.hwbreak) out.str(";hwbreak+");
}

/** qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH */
function transfer(packet: Input): void {
  const features = packet.word("features:read:target.xml:");
  if (!features && !packet.word("threads:read::")) {
    // An annex that is not there, or an object.
    if (packet.word("features:read:")) error(0);
    return;
  }
  const offset = packet.hex();
  packet.want(COMMA);
  const length = packet.hex();
  packet.close();
  if (packet.bad) error(INVALID);
  else part(features ? describe() : threads(), offset, length);
}

/** qfThreadInfo: all at once. */
function threadInfo(): void {
  const out = answer();
  for (let thread = HYPERVISOR; thread != NONE; thread = nextThread(thread))
    writeThread(out.byte(thread == HYPERVISOR ? 109 : COMMA), thread);
}

function threadExtra(packet: Input): void {
  packet.want(COMMA);
  const thread = readThread(packet);
  if (thread == ANY || !exists(oneOf(thread))) return error(INVALID);
  const text = nameThread(note(), oneOf(thread));
  hexBytes(answer(), text.start, text.length);
}

/** Whether it was one; its letter is still there. */
export function query(packet: Input): void {
  if (packet.word("qSupported")) supported(packet);
  else if (packet.word("qXfer:")) transfer(packet);
  else if (packet.word("qfThreadInfo")) threadInfo();
  else if (packet.word("qsThreadInfo")) answer().byte(108);
  else if (packet.word("qThreadExtraInfo")) threadExtra(packet);
  else if (packet.word("qAttached")) answer().byte(ONE);
  else if (packet.word("qSymbol")) ok();
  else if (packet.word("qqemu.PhyMemMode")) answer().byte(client.physical ? ONE : ONE - 1);
  else if (packet.word("Qqemu.PhyMemMode:")) {
    client.physical = packet.accept(ONE) ? 1 : 0;
    ok();
  } else if (packet.word("QStartNoAckMode")) {
    ok();
    link.noAck = 2;
  } else if (packet.word("qC") && packet.left == 0) {
    writeThread(answer().str("QC"), exists(chosen()) ? chosen() : HYPERVISOR);
  }
}
