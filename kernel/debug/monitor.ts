/** The commands of GDB's `monitor`. */
import * as image from "../machine/image";
import { Input } from "./input";
import { INVALID, error, ok, print } from "./packet";
import { fetch32, isReadable } from "./physical";
import { info } from "./session";
import * as phys from "../machine/phys";
import { showDevices } from "./devices";
import { dumpVmcb, dumpVmcs } from "./dump";
import { showExits, showVms, showWalk } from "./inspect";
import { note } from "./note";
import { usage, vcpuOf } from "./argument";
import { catchKernel, catchOff, setWatch, showBreakpoints, showWatches, unwatch } from "./watch";

/** Characters of a command, and of the log that is shown. */
const LONGEST: u32 = 256;
const LOG: u32 = 4096;
const NEWLINE: u32 = 10;

const buffer = memory.data(256);
const command = changetype<Input>(memory.data(16, 4));

/** qRcmd,DIGITS */
export function runCommand(packet: Input): void {
  const length = packet.left / 2;
  if (packet.left & 1 || length > LONGEST) return error(INVALID);
  for (let i: u32 = 0; i < length; i++) store<u8>(buffer + i, <u8>packet.hexByte());
  if (packet.bad) return error(INVALID);
  run(command.over(buffer, length));
  ok();
}

function run(c: Input): void {
  if (c.command("help")) help();
  else if (c.command("vms")) showVms();
  else if (c.command("exits")) showExits(vcpuOf(c));
  else if (c.command("walk")) showWalk(c);
  else if (c.command("vmcs")) dumpVmcs(vcpuOf(c));
  else if (c.command("vmcb")) dumpVmcb(vcpuOf(c));
  else if (c.command("devices")) showDevices(vcpuOf(c));
  else if (c.command("log")) showLog();
  else if (c.command("watches")) showWatches();
  else if (c.command("watch")) setWatch(c);
  else if (c.command("unwatch")) unwatch(c);
  else if (c.command("catch")) {
    if (c.command("kernel")) catchKernel(vcpuOf(c));
    else if (c.command("off")) catchOff();
    else usage();
  } else if (c.command("breakpoints")) showBreakpoints();
  else if (c.command("version")) version();
  else {
    const from = c.at;
    c.skipTo(32);
    print(
      note()
        .str("unknown: ")
        .bytes(from, min(<u32>(c.at - from), 64))
        .str("; see monitor help"),
    );
  }
}

function help(): void {
  print(
    note().str(
      "vms; exits, vmcs, vmcb, devices [VM[.VCPU]]; walk ADDRESS [VM[.VCPU]]; log; version; breakpoints",
    ),
  );
  print(note().str("watch GPA LENGTH [w|r|a]; unwatch [GPA]; watches; catch kernel [VM]; catch off"));
}

function version(): void {
  const out = note().str("Typevisor ");
  for (let n: u32 = 0; n < 64 && image.version(n) != 0; n++) out.printable(image.version(n));
  print(out.str(" ").rawHex(image.buildId(), 8));
}

/** The last lines of root's log. */
function showLog(): void {
  const head = fetch32(info.logHead);
  const count = min(min(head, info.logSize), LOG);
  let out = note();
  // Where not all is there, the first line may have lost its beginning.
  let whole = count == head;
  for (let i = head - count; i != head; i++) {
    const at = info.log + (i & (info.logSize - 1));
    const c = isReadable(at) ? phys.load8(at) : NEWLINE;
    if (c != NEWLINE) {
      if (c != 13) out.printable(c);
      continue;
    }
    if (whole) print(out);
    whole = true;
    out = note();
  }
  if (out.length > 0) print(out);
}
