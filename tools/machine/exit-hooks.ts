/**
 * Clean-up that happens however this process ends: by returning, by an exception, by Ctrl-C or by a signal.
 * Emulators are killed, directories removed and the terminal restored through here, so hooks are synchronous.
 */

type Hook = () => void;

const hooks = new Set<Hook>();
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Whether Ctrl-C ends this process. */
let interruptible = true;

function runHooks(): void {
  for (const hook of [...hooks].reverse()) {
    hooks.delete(hook);
    try {
      hook();
    } catch {
      // One failed hook must not keep the others from running.
    }
  }
}

/** After the clean-up the signal takes its normal effect, so that whoever waits for us sees what ended us. */
function onSignal(signal: NodeJS.Signals): void {
  if (signal === "SIGINT" && !interruptible) return;
  runHooks();
  unlisten();
  process.kill(process.pid, signal);
}

function listen(): void {
  process.on("exit", runHooks);
  for (const signal of signals) process.on(signal, onSignal);
}

function unlisten(): void {
  process.off("exit", runHooks);
  for (const signal of signals) process.off(signal, onSignal);
}

/** Runs `hook` when this process ends, last registered first; the function returned takes it back. */
export function onExit(hook: Hook): () => void {
  if (hooks.size === 0) listen();
  hooks.add(hook);
  return () => {
    if (hooks.delete(hook) && hooks.size === 0) unlisten();
  };
}

/** Leaves Ctrl-C to another process of our terminal, until the function returned is called. There is a hook meanwhile. */
export function leaveInterrupts(): () => void {
  interruptible = false;
  return () => (interruptible = true);
}
