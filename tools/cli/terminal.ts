/** The user's terminal as the guest's console: every key goes to the guest, except the one that leaves. Ctrl-^ is the hypervisor's. */
import { onExit } from "../machine/exit-hooks.ts";
import type { SerialPort } from "../machine/serial.ts";

/** Ctrl-], as in telnet and virsh. */
const escapeByte = 0x1d;
export const escapeName = "Ctrl-]";
/** What presses the guest's power button (kernel/root/operator.ts). */
export const powerKeys = "Ctrl-^ p";

/** Attaches the terminal until the function returned is called. `left` is called when the user wants to leave. */
export function attachTerminal(port: SerialPort, left: () => void): () => void {
  const { stdin } = process;
  const restore = (): void => void stdin.setRawMode(false);
  const forget = onExit(restore);
  stdin.setRawMode(true);
  const onData = (bytes: Buffer): void => {
    const at = bytes.indexOf(escapeByte);
    void port.write(at < 0 ? bytes : bytes.subarray(0, at));
    if (at >= 0) left();
  };
  stdin.on("data", onData);
  return () => {
    stdin.off("data", onData);
    stdin.pause();
    forget();
    restore();
  };
}
