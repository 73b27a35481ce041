/** The machine's own power: off when no VM is left, and reset, by what its firmware's tables say. */
import { expect, test, vi } from "vitest";
import { assembleGuest, bootImage, bootToEnd } from "./harness.ts";

vi.setConfig({ testTimeout: 600_000 });

const hello = () => [{ file: assembleGuest("hello"), text: "kernel memory=4M" }];

test.each([
  ["QEMU's i440fx", { machine: "qemu-tcg" }],
  ["QEMU's q35", { machine: "qemu-tcg", board: "q35" }],
  ["UEFI", { machine: "qemu-tcg", firmware: "uefi" }],
  ["Bochs", { machine: "bochs" }],
] as const)("On %s the machine is off when no VM is left, with end=poweroff", async (_, place) => {
  const { log, cause } = await bootToEnd({
    ...place,
    options: "end=poweroff preflight=yes",
    modules: hello(),
  });
  // What Bochs is about to send is lost when it ends.
  const last = place.machine === "bochs" ? ["done"] : ["done", "powers off"];
  expect(log.slice(-last.length), log.join("\n")).toEqual(last);
  expect(log).toContain(`used               firmware: ${"firmware" in place ? "UEFI" : "BIOS"}`);
  expect(cause).toBe("powered off");
});

test.each([
  ["QEMU's i440fx", { machine: "qemu-tcg" }],
  ["QEMU's q35", { machine: "qemu-tcg", board: "q35" }],
  ["Bochs", { machine: "bochs" }],
] as const)("On %s the machine is reset after a refusal, with panic=reboot", async (_, place) => {
  const { log, cause } = await bootToEnd({ ...place, options: "panic=reboot" });
  if (place.machine !== "bochs")
    expect(log.slice(-2), log.join("\n")).toEqual(["refused: modules: no kernel", "reboots"]);
  expect(cause).toBe("reset");
});

test("With preflight=only the table is all that there is", async () => {
  const { log } = await bootImage({ machine: "qemu-tcg", options: "preflight=only", modules: hello() });
  expect(log.slice(-3)).toEqual([
    "required           this machine: can run Typevisor",
    "preflight only",
    "halts",
  ]);
  expect(log.join("\n")).not.toContain("vm0");
});
