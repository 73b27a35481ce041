/** What GDB is told before a person or a script goes on. */
import { join } from "node:path";
import { projectDirectory } from "../machine/run-directory.ts";

export interface GdbSetup {
  /** The hypervisor's image with symbols. */
  hypervisor: string;
  /** The guest kernel's symbols, if there are any. */
  kernel: string | undefined;
  /** The UNIX socket of the debugger's line. */
  socket: string;
  unattended: boolean;
}

/** A word of GDB's command line. */
const word = (text: string): string => `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;

export function gdbCommands({ hypervisor, kernel, socket, unattended }: GdbSetup): string {
  const lines = [
    "set confirm off",
    ...(unattended ? ["set pagination off", "set style enabled off"] : []),
    "set remotetimeout 120",
    ...["guest.py", "typevisor.py"].map((file) => `source ${join(projectDirectory, "tools/debug", file)}`),
    `file ${word(hypervisor)}`,
    `typevisor-connect ${word(socket)} ${kernel === undefined ? "" : word(kernel)}`,
  ];
  return `${lines.join("\n")}\n`;
}
