import { expect, test } from "vitest";
import { Session, type SessionOptions } from "../../tools/cli/session.ts";
import { Status } from "../../tools/cli/status.ts";
import { grubFailure } from "../../tools/image/grub.ts";
import type { Machine, MachineEnd } from "../../tools/machine/machine.ts";
import { fakePort, type FakePort } from "./fake-port.ts";

/** A session with a machine that only exists as far as a session looks at it. */
class Fake implements AsyncDisposable {
  end: (end: MachineEnd) => void = () => {};
  reset: () => void = () => {};
  readonly log: string[] = [];
  readonly session: Session;

  private constructor(
    readonly com1: FakePort,
    readonly com2: FakePort,
    options: Partial<SessionOptions>,
  ) {
    const machine = {
      serial: [com1.port, com2.port],
      ended: new Promise<MachineEnd>((resolve) => (this.end = resolve)),
      onReset: (listener: () => void) => (this.reset = listener),
    } as unknown as Machine;
    this.session = new Session(machine, { bare: false, onLog: (line) => this.log.push(line), ...options });
  }

  static async start(options: Partial<SessionOptions> = {}): Promise<Fake> {
    return new Fake(await fakePort("com1"), await fakePort("com2"), options);
  }

  tv(...lines: string[]): void {
    for (const line of lines) this.com2.guest.write(`(tv) ${line}\r\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.com1[Symbol.asyncDispose]();
    await this.com2[Symbol.asyncDispose]();
  }
}

test("A guest that powers off is a success, and its costs are reported", async () => {
  await using fake = await Fake.start();
  fake.tv("Typevisor 0.1.0 abc");
  await fake.session.loaded;
  fake.tv(
    "vm0: started",
    "vm0: ended: powered off",
    "vm0: cost: exits 12",
    "vm0: cost: memory 2 MiB",
    "done",
  );
  expect(await fake.session.outcome).toEqual({
    status: Status.Success,
    text: "the guest ended: powered off",
    costs: ["exits 12", "memory 2 MiB"],
  });
  expect(fake.log).toHaveLength(6);
});

test.each([
  ["reset", Status.Reset],
  ["triple fault", Status.GuestFailed],
])("A guest that ended by %s has status %i", async (how, status) => {
  await using fake = await Fake.start();
  fake.tv(`vm0: ended: ${how}`, "done");
  expect(await fake.session.outcome).toMatchObject({ status, text: `the guest ended: ${how}` });
});

test("A guest that resets and is restarted goes on", async () => {
  await using fake = await Fake.start();
  fake.tv("vm0: restarts: reset", "vm0: cost: exits 7");
  fake.tv("vm0: ended: powered off", "vm0: cost: exits 12", "done");
  expect(await fake.session.outcome).toMatchObject({ status: Status.Success, costs: ["exits 12"] });
});

test("The hypervisor may switch the machine off after its last VM", async () => {
  await using fake = await Fake.start();
  fake.tv("vm0: ended: powered off");
  await fake.com2.port.waitFor("powered off\n");
  fake.end({ cause: "powered off", detail: "powered off" });
  expect(await fake.session.outcome).toMatchObject({ status: Status.Success });
});

test("The text of --until on the console is a success, though cut and coloured", async () => {
  await using fake = await Fake.start({ until: "log in" });
  fake.com1.guest.write("please lo");
  await fake.com1.port.waitFor("lo");
  fake.com1.guest.write("g\x1b[1m in");
  expect(await fake.session.outcome).toMatchObject({ status: Status.Success });
});

test("A guest that ends without the text of --until has its own status", async () => {
  await using fake = await Fake.start({ until: "log in" });
  fake.tv("vm0: ended: powered off", "done");
  expect(await fake.session.outcome).toMatchObject({
    status: Status.TextMissing,
    text: 'the guest ended: powered off, without "log in"',
  });
});

test("Time runs out", async () => {
  await using fake = await Fake.start({ timeout: 0.05 });
  expect(await fake.session.outcome).toMatchObject({
    status: Status.Timeout,
    text: "time ran out after 0.05 s",
  });
});

test("A refusal of the hypervisor is a failure in its own words", async () => {
  await using fake = await Fake.start({ until: "x" });
  fake.tv("refused: EPT: not offered by this CPU");
  expect(await fake.session.outcome).toMatchObject({
    status: Status.Failure,
    text: "the hypervisor refused: EPT: not offered by this CPU",
  });
});

test("A panic is a failure, its report reaches the log, and what follows it changes nothing", async () => {
  await using fake = await Fake.start();
  fake.tv("panic: out of frames", "  root/frames.ts:12");
  await fake.com2.port.waitFor("frames.ts:12\n");
  fake.end({ cause: "failed", detail: "triple fault" });
  expect(await fake.session.outcome).toMatchObject({
    status: Status.Failure,
    text: "the hypervisor panicked: out of frames",
  });
  expect(fake.log).toContain("(tv)   root/frames.ts:12");
});

test("A reset or an unexpected end of the hypervisor's machine is a failure", async () => {
  await using resetting = await Fake.start();
  resetting.reset();
  expect(await resetting.session.outcome).toMatchObject({ status: Status.Failure });
  await using ending = await Fake.start();
  ending.end({ cause: "failed", detail: "Bochs ended: panic" });
  expect(await ending.session.outcome).toMatchObject({
    status: Status.Failure,
    text: "the machine ended: Bochs ended: panic",
  });
});

test("GRUB's failure is one of ours, and a guest cannot fake it later", async () => {
  await using failing = await Fake.start();
  failing.com1.guest.write(`error: out of memory.\r\n${grubFailure}\r\n`);
  expect(await failing.session.outcome).toMatchObject({ status: Status.Failure, text: grubFailure });
  await using faking = await Fake.start();
  faking.com1.guest.write(`${"x".repeat(5000)}\r\n${grubFailure}\r\n`);
  await faking.com1.port.waitFor(grubFailure);
  faking.tv("vm0: ended: powered off", "done");
  expect(await faking.session.outcome).toMatchObject({ status: Status.Success });
});

test("The guest's console cannot speak for the hypervisor", async () => {
  await using fake = await Fake.start({ timeout: 0.1 });
  fake.com1.guest.write("(tv) vm0: ended: powered off\r\n(tv) done\r\n");
  expect(await fake.session.outcome).toMatchObject({ status: Status.Timeout });
});

test.each([
  ["powered off", Status.Success],
  ["reset", Status.Reset],
  ["failed", Status.Failure],
] as const)("Without a hypervisor the machine's end (%s) is the guest's", async (cause, status) => {
  await using fake = await Fake.start({ bare: true });
  fake.end({ cause, detail: cause });
  expect(await fake.session.outcome).toMatchObject({ status });
});

test("The user may leave", async () => {
  await using fake = await Fake.start();
  fake.session.leave();
  expect(await fake.session.outcome).toMatchObject({ status: Status.Success, text: "left" });
});
