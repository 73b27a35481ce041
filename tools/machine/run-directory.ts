/** A private directory for one run of an emulator: its configuration, sockets and logs. Gone afterwards. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { onExit } from "./exit-hooks.ts";

export const projectDirectory = fileURLToPath(new URL("../../", import.meta.url)).replace(/\/$/, "");
const logsDirectory = join(projectDirectory, "build/logs");

/** So many runs' logs are kept; older ones go, or a nightly run would fill the disk. */
const keptRuns = 40;

export class RunDirectory {
  readonly path: string;
  private kept: string | undefined;
  private removed = false;
  private readonly forget: () => void;

  constructor(kind: string) {
    this.path = mkdtempSync(join(tmpdir(), `typevisor-${kind}-`));
    this.forget = onExit(() => this.remove());
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** Copies what there is to build/logs/ and returns that directory, relative to the project. */
  keep(): string {
    const time = new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-");
    this.kept ??= join(logsDirectory, `${time}-${basename(this.path).replace("typevisor-", "")}`);
    mkdirSync(this.kept, { recursive: true });
    cpSync(this.path, this.kept, { recursive: true, filter: isPlain });
    for (const old of readdirSync(logsDirectory).sort().slice(0, -keptRuns)) {
      rmSync(join(logsDirectory, old), { recursive: true, force: true });
    }
    return relative(projectDirectory, this.kept);
  }

  remove(): void {
    if (this.removed) return;
    this.removed = true;
    this.forget();
    if (this.kept !== undefined) this.keep(); // what was written since
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Sockets and pipes are not worth keeping. */
function isPlain(path: string): boolean {
  const status = statSync(path);
  return status.isFile() || status.isDirectory();
}
