/** A program in QEMU's place, for what no test can bring about with QEMU: it says something and stops its machine. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const program = `#!/usr/bin/env node
const { connect } = require("node:net");
const args = process.argv.slice(2);
require("node:fs").writeFileSync(__dirname + "/arguments", args.join(" "));
console.error(SAYS);
const socket = connect(/path=(.*)/.exec(args.find((arg) => arg.startsWith("socket,id=qmp")))[1]);
const send = (message) => socket.write(JSON.stringify(message) + "\\n");
require("node:readline").createInterface(socket).on("line", (line) => {
  const { execute } = JSON.parse(line);
  send({ return: execute === "query-status" ? { status: STATUS } : {} });
  if (execute === "qmp_capabilities") setImmediate(() => send({ event: "STOP" }));
});
`;

export class FakeQemu {
  private readonly directory = mkdtempSync(join(tmpdir(), "typevisor-fake-"));
  private readonly path = process.env["PATH"]!;

  /** From now on, until disposed of, QEMU is a program that prints `says` and reports `status`. */
  constructor(says: string, status: string) {
    const file = join(this.directory, "qemu-system-x86_64");
    const text = program.replace("SAYS", JSON.stringify(says)).replace("STATUS", JSON.stringify(status));
    writeFileSync(file, text);
    chmodSync(file, 0o755);
    process.env["PATH"] = `${this.directory}:${this.path}`;
  }

  /** What it was started with. */
  arguments(): string {
    return readFileSync(join(this.directory, "arguments"), "utf8");
  }

  [Symbol.dispose](): void {
    process.env["PATH"] = this.path;
    rmSync(this.directory, { recursive: true });
  }
}
