import { expect, test } from "vitest";
import { parseLogLine } from "../../tools/cli/hypervisor-log.ts";

test.each([
  ["(tv) Typevisor 0.1.0 abc123", { kind: "banner", text: "Typevisor 0.1.0 abc123" }],
  ["(tv) refused: EPT: not offered by this CPU", { kind: "refused", text: "EPT: not offered by this CPU" }],
  ["(tv) panic: out of frames", { kind: "panic", text: "out of frames" }],
  ["(tv) vm0: started linux, 512 MiB", { kind: "started", vm: "vm0", text: "linux, 512 MiB" }],
  ["(tv) vm0: ended: powered off", { kind: "ended", vm: "vm0", how: "powered off" }],
  ["(tv) vm12: ended: triple fault", { kind: "ended", vm: "vm12", how: "triple fault" }],
  ["(tv) vm0: restarts: reset", { kind: "restarted", vm: "vm0" }],
  ["(tv) vm0: cost: exits 1,234", { kind: "cost", vm: "vm0", text: "exits 1,234" }],
  ["(tv) done\r", { kind: "done" }],
])("%s is understood", (line, event) => {
  expect(parseLogLine(line)).toEqual(event);
});

test.each(["", "done", "(tv)", "(tv) vm0: something else", "[    0.1] (tv) done", "(tv) refused"])(
  "%j means nothing to us",
  (line) => {
    expect(parseLogLine(line)).toBeUndefined();
  },
);
