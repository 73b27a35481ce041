/** Progress on standard error: each stage with its time, redrawn in place on a terminal, plain lines elsewhere. */
import { Listr, ListrLogger, PRESET_TIMER, ProcessOutput } from "listr2";

export interface Stage {
  /** Replaces the title, to say what was found. */
  title(text: string): void;
  /** Shows what the stage is doing right now. */
  progress(text: string): void;
}

/** Runs one stage and returns what it returns. A stage that fails is marked so; who catches the error says why. */
export async function stage<T>(title: string, work: (stage: Stage) => Promise<T>): Promise<T> {
  const logger = new ListrLogger({ processOutput: new ProcessOutput(process.stderr, process.stderr) });
  let result: { value: T } | { error: unknown } | undefined;
  const task = {
    title,
    task: async (_: unknown, wrapper: { title?: string; output?: string }): Promise<void> => {
      try {
        const value = await work({
          title: (text) => (wrapper.title = text),
          progress: (text) => {
            if (process.stderr.isTTY) wrapper.output = text; // elsewhere each would stay as a line of its own
          },
        });
        result = { value };
      } catch (error) {
        result = { error };
        throw new Error("see below");
      }
    },
  };
  const common = { registerSignalListeners: false } as const; // exit-hooks.ts does what has to be done
  const list = process.stderr.isTTY
    ? new Listr(task, {
        ...common,
        rendererOptions: { logger, timer: PRESET_TIMER, showErrorMessage: false },
      })
    : new Listr(task, { ...common, renderer: "simple", rendererOptions: { logger, timer: PRESET_TIMER } });
  await list.run().catch(() => {}); // it only has what we threw ourselves
  if (result === undefined) throw new Error(`the stage "${title}" did not run`);
  if ("error" in result) throw result.error;
  return result.value;
}
