import { expect, test } from "vitest";
import { parseOptions } from "../../tools/cli/command.ts";
import { planImage } from "../../tools/cli/image-plan.ts";
import { checkRequest } from "../../tools/cli/request.ts";

const plan = (...args: string[]): ReturnType<typeof planImage> =>
  planImage(checkRequest(parseOptions(["--machine", "bochs", ...args])!), { kernel: "/k", initrd: "/i" });

test("The hypervisor gets its consoles, the user's options, and the guest as modules", () => {
  const { boot, files } = plan(
    "--memory",
    "1G",
    "--append",
    "a=$b",
    "--hypervisor-options",
    "loglvl=all",
    "--no-reboot",
  );
  expect(boot).toMatchObject({
    kind: "typevisor",
    hypervisor: { text: "console=com2,115200 vmconsole=com1 reboot=no loglvl=all" },
  });
  expect(boot.kind === "typevisor" && boot.modules.slice(0, 2)).toEqual([
    { path: "/boot/kernel0", text: "kernel memory=1024M -- console=ttyS0,115200 a=$b" },
    { path: "/boot/initrd0", text: "initrd" },
  ]);
  expect([...files.keys()]).toEqual(
    expect.arrayContaining(["/boot/typevisor", "/boot/kernel0", "/boot/initrd0"]),
  );
});

test("Without a hypervisor nothing but the guest is on the image", () => {
  const { boot, files } = plan("--bare", "--append", "console=tty0");
  expect(boot).toEqual({
    kind: "bare",
    kernel: { path: "/boot/kernel0", text: "console=tty0" }, // the user's own console is enough
    initrd: "/boot/initrd0",
  });
  expect(Object.fromEntries(files)).toEqual({ "/boot/kernel0": "/k", "/boot/initrd0": "/i" });
});

test("The guest's processors and the frequency of its TSC are in its module's text", () => {
  const { boot } = plan("--cpus", "2", "--tsc-khz", "25000", "--append", "quiet");
  expect(boot.kind === "typevisor" && boot.modules[0]!.text).toBe(
    "kernel memory=512M cpus=2 tsckhz=25000 -- console=ttyS0,115200 quiet",
  );
  expect(() => plan("--bare", "--tsc-khz", "25000")).toThrow(/^--tsc-khz: /);
});
