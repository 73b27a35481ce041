/** Bochs' log as it is written: the time, resets, and why it ended. Its exit status is 1 even after a power-off. */

/** A line: ticks, severity (i, e, p, d), device, text. */
const entry = /^(\d{11,})([iepd])\[(.{6})\] ?(.*)$/;

/** What Bochs calls a panic when a guest only switches off: ACPI S5, or "Shutdown" written to port 0x8900. */
const powerOff = /ACPI control: soft power off|Shutdown port: shutdown requested/;

/** MSRs that Bochs lacks and Linux reads at every timer tick; what Bochs does at its start. */
const noise = /: Unknown register 0x|^lt_dlhandle|^loaded plugin/;

/** The registers, which it prints before a panic and again after it. */
const registers = /^(\| |[CS]S\.mode|EFER  |CPU is in)/;

/** Another Bochs, started at the same moment, has been quicker to listen on the port that both had bound. */
const displayFailed = /RFB could not bind any port/;

/** The BIOS is well on its way, and has not given the disk to the boot loader yet: the display has its port. */
const underWay = /^IDE time out|^Booting from/;

export class BochsLog {
  /** The time of the last line, in instructions. */
  ticks = 0n;
  poweredOff = false;
  /** Whether the display found a port to listen on; undefined until that is known. */
  displayed: boolean | undefined;
  private resets = 0;
  private panic: string | undefined;
  private last: string[] = [];
  private state: string[] = [];

  /** Takes the next line; says "reset" if the guest has reset the machine (the first reset is the power-on). */
  add(line: string): "reset" | undefined {
    const [, ticks, severity, device, text] = entry.exec(line) ?? [];
    if (ticks !== undefined) this.ticks = BigInt(ticks);
    const message = text ?? line;
    if (message === "" || noise.test(message)) return undefined;
    this.poweredOff ||= powerOff.test(message);
    if (underWay.test(message)) this.displayed ??= true;
    if (displayFailed.test(message)) this.displayed = false;
    if (severity === "p") {
      this.panic ??= `${device!.trim()}: ${message.replace(">>PANIC<< ", "")}`.replace(/^: /, "");
      this.state = [];
    } else if (registers.test(message)) {
      this.state.push(message);
    } else if (this.panic === undefined) {
      this.last.push(message);
      if (this.last.length > 8) this.last.shift();
    }
    return message.startsWith("bx_pc_system_c::Reset(") && this.resets++ > 0 ? "reset" : undefined;
  }

  /** Why it ended, for a person to read. */
  reason(): string {
    const before = `its log before that:\n${this.last.join("\n")}`;
    return this.panic === undefined ? before : `${this.panic}\n${this.state.join("\n")}\n${before}`;
  }
}
