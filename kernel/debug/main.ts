/** The debugger's entry point: the machine has stopped, and goes on when this returns. */
import { Hpa } from "../lib/addr";
import { serve } from "./command";
import { begin, end, tell } from "./stop";

/** Called by boot/debug.asm whenever the machine stops; `at` is the DebugInfo. */
export function stop(at: Hpa): void {
  if (begin(at) && tell()) serve();
  end();
}
