import { expect, test } from "vitest";
import { FakeHost } from "./fake/host.ts";
import { kernels } from "./fake/vms.ts";
test("smoke", () => {
  const host = new FakeHost({
    vendor: "AMD-V",
    modules: kernels(3),
    run: (v) => (v.runs < 3 ? v.useSlice() : v.stop(v.life < 3 ? "RESET" : "POWERED_OFF")),
  });
  const log = host.boot();
  console.log(log.join("\n"), JSON.stringify(host.svm.flushes));
  expect(log.at(-1)).toBe("halts");
});
