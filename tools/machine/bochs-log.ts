/** Bochs' log as it is written: the time, resets, and why it ended. Its exit status is 1 even after a power-off. */

/** A line: ticks, severity (i, e, p, d), device, text. */
const entry = /^(\d{11,})([iepd])\[(.{6})\] ?(.*)$/;

/** What Bochs calls a panic when a guest only switches off: ACPI S5, or "Shutdown" written to port 0x8900. */
const powerOff = /ACPI control: soft power off|Shutdown port: shutdown requested/;

/** Linux reads MSRs that Bochs lacks at every timer tick and logs each time. */
const noise = /: Unknown register 0x/;

export class BochsLog {
  /** The time of the last line, in instructions. */
  ticks = 0n;
  poweredOff = false;
  private resets = 0;
  private panicked = false;
  private last: string[] = [];

  /** Takes the next line; says "reset" if the guest has reset the machine (the first reset is the power-on). */
  add(line: string): "reset" | undefined {
    const [, ticks, severity, , text] = entry.exec(line) ?? [];
    if (ticks !== undefined) this.ticks = BigInt(ticks);
    const message = text ?? line;
    if (message === "" || noise.test(message)) return undefined;
    this.poweredOff ||= powerOff.test(message);
    // The registers follow a panic: everything is kept then. Before, the last few lines are.
    this.last.push(line);
    if (!this.panicked && this.last.length > 12) this.last.shift();
    this.panicked ||= severity === "p";
    return message.startsWith("bx_pc_system_c::Reset(") && this.resets++ > 0 ? "reset" : undefined;
  }

  /** The end of the log, for a person to read. */
  reason(): string {
    return `its log ends\n${this.last.slice(0, 80).join("\n")}`;
  }
}
