/** A serial port whose machine is the test: both ends are in this process. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SerialPort } from "../../tools/machine/serial.ts";

export interface FakePort extends AsyncDisposable {
  port: SerialPort;
  /** The guest's end. */
  guest: Socket;
}

export async function fakePort(name = "com1"): Promise<FakePort> {
  const directory = mkdtempSync(join(tmpdir(), "typevisor-port-"));
  const port = await SerialPort.listen(name, join(directory, "log"), join(directory, "socket"));
  const guest = connect((port.address as { path: string }).path);
  await new Promise((resolve) => guest.once("connect", resolve));
  return {
    port,
    guest,
    async [Symbol.asyncDispose]() {
      guest.destroy();
      await port.drained();
      rmSync(directory, { recursive: true });
    },
  };
}
