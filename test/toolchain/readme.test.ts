import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, symlinkSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { root, workFolder } from "./engines.ts";

const readme = readFileSync(path.join(root, "tools/wasm3-build/README.md"), "utf8");

test(
  "the README's example for other projects builds and runs outside of this one",
  { timeout: 120_000 },
  () => {
    const folder = workFolder("readme");
    rmSync(path.join(folder, "tools"), { force: true });
    symlinkSync(path.join(root, "tools"), path.join(folder, "tools"));
    const carrier = path.join(root, "node_modules/react-native-webassembly/cpp");
    const example = /```sh\n([\s\S]*?)```/
      .exec(readme)![1]!
      .replace("/path/to/react-native-webassembly/cpp", carrier);
    const out = execFileSync("bash", ["-euc", example], {
      cwd: folder,
      encoding: "utf8",
      env: { ...process.env, PATH: `${path.join(root, "node_modules/.bin")}:${process.env["PATH"]}` },
    });
    expect(out.trimEnd().split("\n").slice(-2)).toEqual(["36", "12"]);
  },
);

test("the README names the options that --help names", () => {
  const help = readFileSync(path.join(root, "tools/wasm3-build/main.c"), "utf8");
  const options = (text: string, pattern: RegExp) =>
    Array.from(text.matchAll(pattern), ([, name]) => name).sort();
  const named = options(readme, /^\| `(-[\w-]+)/gm);
  expect(named).toEqual(options(help, /^ {4}" {2}(-[\w-]+)/gm));
  expect(named).toHaveLength(11);
});
