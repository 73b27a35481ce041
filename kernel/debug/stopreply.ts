/** What GDB is told of a stop (GDB manual, Appendix E.3, Stop Reply Packets). */
import { answer, send } from "./packet";
import { HYPERVISOR, Signal, Why, client, processOf, session } from "./session";
import { writeProcess, writeThread } from "./thread";
import { exists } from "./vm";

/** Answers with why the machine stands. */
export function stopReply(): void {
  const out = answer();
  if (session.why == Why.Exited) {
    out.str("W00");
    if (!client.multiprocess) return;
    out.str(";process:");
    writeProcess(out, processOf(session.thread));
    return;
  }
  out.byte(84).rawHex(session.signal, 2);
  switch (session.why) {
    case Why.Software:
      if (client.swbreak) out.str("swbreak:;");
      break;
    case Why.Hardware:
      if (client.hwbreak) out.str("hwbreak:;");
      break;
    case Why.Watch:
    case Why.AccessWatch:
      out
        .str(session.why == Why.Watch ? "watch:" : "awatch:")
        .rawHex(session.address, 1)
        .str(";");
      break;
  }
  out.str("thread:");
  writeThread(out, session.thread);
  out.str(";");
}

/** Answers `?`: the same, or, when what it was about is gone, that the hypervisor stands. */
export function statusReply(): void {
  if (session.why == Why.Exited || !exists(session.thread)) {
    session.thread = HYPERVISOR;
    session.why = Why.Signal;
    session.signal = Signal.Trap;
  }
  client.general = session.thread;
  stopReply();
}

/** Tells a GDB that waits for it; to others it is told when they ask. */
export function announce(): void {
  client.general = session.thread;
  if (!client.resumed) return;
  client.resumed = 0;
  stopReply();
  send();
}
