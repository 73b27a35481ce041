/** Whatever comes on the line: the debugger does not fault, touches no memory that is not there, and answers afterwards. */
import { describe, expect, test } from "vitest";
import { Cause, GdbMachine, VECTOR_TIMER, type Step, gdbVendors, hex, packet } from "./fake/gdbmachine.ts";
import { Random, effort } from "./fake/pc.ts";

const PACKETS = 50_000 * effort;
const BATCH = 250;

const WORDS = [
  "help",
  "vms",
  "exits",
  "walk 0xffffffff81000000",
  "walk 0x1000 1",
  "vmcs",
  "vmcb",
  "devices",
  "log",
  "watch 0x1000 8",
  "watch 4096 1 r",
  "unwatch",
  "watches",
  "catch kernel",
  "catch off",
  "breakpoints",
  "version",
  "exits 5",
];

class Fuzz {
  constructor(private readonly random: Random) {}

  private number(): string {
    const { random } = this;
    const near = [
      "0",
      "1000",
      "100000",
      "201000",
      "40000000",
      "40000ffe",
      "ffffc00000700000",
      "ffffc00003fffffe",
      "ffffffff80000000",
      "800000",
      "7fffff",
    ];
    switch (random.below(6)) {
      case 0:
        return random.below(0x100000000).toString(16) + random.below(0x100000000).toString(16);
      case 1:
        return "f".repeat(random.below(20));
      case 2:
        return random.below(256).toString(16);
      default:
        return (BigInt(`0x${random.pick(near)}`) + BigInt(random.below(64))).toString(16);
    }
  }

  private digits(most: number): string {
    let text = "";
    for (let n = this.random.below(most) * 2; n > 0; n--) text += this.random.below(16).toString(16);
    return text;
  }

  private thread(): string {
    return this.random.pick([
      "p1.1",
      "p2.1",
      "p2.2",
      "p2.3",
      "p2.0",
      "p3.1",
      "p-1.-1",
      "p0.0",
      "1",
      "2",
      "3",
      "0",
      "-1",
      "p2",
      "p9.1",
      "p2.7",
      "102",
      "202",
      "302",
      "ffffffffff",
      "p",
    ]);
  }

  /** A packet that makes sense, mostly. */
  contents(): string {
    const { random } = this;
    const n = () => this.number();
    switch (random.below(26)) {
      case 0:
        return random.pick(["?", "g", "qC", "!", "D", "k", "c", "s", "vCont?", "vMustReplyEmpty", "R00"]);
      case 1:
      case 2:
      case 3:
        return `m${n()},${n()}`;
      case 4: {
        const data = this.digits(40);
        return `M${n()},${(data.length / 2).toString(16)}:${data}`;
      }
      case 5:
        return `X${n()},${n()}:${this.digits(20)}}#`.slice(0, -1);
      case 6:
      case 7:
      case 8:
        return `${random.pick(["Z", "z"])}${random.below(6)},${n()},${random.pick(["1", "1", "1", "2", "4", "8", "7", n()])}`;
      case 9:
      case 10:
        return `H${random.pick(["g", "g", "c", "x"])}${this.thread()}`;
      case 11:
        return `p${n()}`;
      case 12:
        return `P${random.below(70).toString(16)}=${this.digits(12)}`;
      case 13:
        return `G${this.digits(400)}`;
      case 14:
        return `vCont;${random.pick(["c", "s", "C05", "S", "t", ""])}:${this.thread()};${random.pick(["c", "s", ""])}`;
      case 15:
        return `qXfer:${random.pick(["features:read:target.xml", "threads:read:", "auxv:read:"])}:${n()},${n()}`;
      case 16:
      case 17:
      case 18:
        return `qRcmd,${hex(random.pick(WORDS))}`;
      case 19:
        return `T${this.thread()}`;
      case 20:
        return random.pick([
          "qSupported",
          "qSupported:multiprocess+;swbreak+",
          "QStartNoAckMode",
          "qfThreadInfo",
          "qsThreadInfo",
          "qAttached:1",
          "Qqemu.PhyMemMode:1",
          "Qqemu.PhyMemMode:0",
          "qqemu.PhyMemMode",
        ]);
      case 21:
        return `${random.pick(["D;", "vKill;", "vAttach;"])}${random.below(5)}`;
      case 22:
        return `${random.pick(["c", "s", "C05;", "S05;"])}${n()}`;
      case 23:
        return `qThreadExtraInfo,${this.thread()}`;
      case 24:
        return `m${n()},${n()}`;
      default:
        return String.fromCharCode(...Array.from({ length: random.below(60) }, () => random.below(256)));
    }
  }

  /** Damages, or not. */
  bytes(): Uint8Array {
    const { random } = this;
    let contents = this.contents();
    // Within: the checksum is right.
    if (random.below(4) === 0 && contents.length > 0) {
      const i = random.below(contents.length);
      contents =
        random.below(2) === 0
          ? contents.slice(0, i) + String.fromCharCode(random.below(256)) + contents.slice(i + 1)
          : contents.slice(0, i) + contents.slice(i).repeat(random.below(3));
    }
    const bytes = packet(contents);
    switch (random.below(16)) {
      case 0:
        return bytes.subarray(0, random.below(bytes.length));
      case 1:
        bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
        return bytes;
      case 2:
        return Uint8Array.from({ length: random.below(10) }, () => random.below(256));
      case 3:
        return random.below(20) === 0
          ? packet("m".repeat(4000 + random.below(400)))
          : Uint8Array.of(43, 45, 3);
      default:
        return bytes;
    }
  }
}

describe.each(gdbVendors)("On %s:", (vendor) => {
  test("100,000 packets of all kinds and of none are survived", { timeout: 600_000 }, () => {
    const random = new Random(vendor === "VT-x" ? 11 : 12);
    const fuzz = new Fuzz(random);
    const vcpus = [3, 1];
    const machine = () => new GdbMachine(vendor, vcpus);
    let m = machine();
    for (let done = 0; done < PACKETS; done += BATCH) {
      if (random.below(8) === 0) m = machine();
      const vm = random.below(2);
      const vcpu = random.below(vcpus[vm]!);
      if (random.below(3) === 0)
        m.page(vm, random.pick(["none", "32-bit", "PAE", "4-level"] as const), 0x10n, vcpu);
      if (random.below(6) === 0) m.setVmState(random.below(2), random.below(5));
      if (random.below(10) === 0) m.setRunning(vm, random.below(2) === 0, vcpu);
      m.dr[6] = BigInt(random.below(16)) | 0x4000n;
      const steps: Step[] = Array.from({ length: BATCH }, () => fuzz.bytes());
      let about = { vm: 0, vcpu: 0, detail: 0n, access: 1, vector: 0 };
      m.script = steps;
      m.sent = [];
      // A resume comes now and then: the machine stops again, for any reason.
      for (let stops = 0; m.script.length > 0 && stops < BATCH * 2; stops++) {
        about = {
          vm: random.below(3),
          vcpu: random.below(4),
          detail: BigInt(random.below(0x8000)),
          access: random.below(4),
          vector: random.pick([0, 1, 3, 6, 13, 14, VECTOR_TIMER]),
        };
        m.stop(random.below(11), about);
      }
      m.reset();
      m.setVmState(0, 1);
      const answers = m.talk(
        ["qSupported:multiprocess+", "?", "Hgp1.1", "g", "Hgp2.1", "g", "mffffc00000700000,4"],
        Cause.Waiting,
      );
      const [status, ok, host, , guest] = answers.slice(-6);
      expect([status, ok]).toEqual(["T05thread:p1.1;", "OK"]);
      expect([host, guest].map((g) => g?.length)).toEqual([648, 648]);
    }
  });
});
