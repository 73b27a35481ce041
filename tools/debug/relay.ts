/** Joins GDB to a machine's serial port: one connection at a time, on a UNIX socket. */
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import type { SerialPort } from "../machine/serial.ts";

/** Listens at `path` until it is closed. */
export async function relay(port: SerialPort, path: string): Promise<Server> {
  const server = createServer((socket) => {
    const stop = port.onBytes((bytes) => socket.write(bytes));
    socket.on("data", (bytes) => void port.write(bytes));
    socket.on("error", () => {}); // "close" follows
    socket.on("close", stop);
  });
  server.listen(path);
  await once(server, "listening");
  return server;
}
