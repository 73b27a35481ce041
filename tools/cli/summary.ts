/** The last words of a boot: how it ended and what it cost. */
import type { Outcome } from "./session.ts";

export interface Summary extends Outcome {
  machine: string;
  seconds: number;
  /** Instructions, where the machine counts them. */
  ticks: bigint | undefined;
  /** Where the logs are, if they were kept. */
  logs: string | undefined;
}

export function summary({ text, costs, machine, seconds, ticks, logs }: Summary): string {
  const counted = ticks === undefined ? "" : `, ${ticks.toLocaleString("en-US")} instructions`;
  const lines = [
    `${text} (${machine}, ${seconds.toFixed(1)} s${counted})`,
    ...costs.map((cost) => `  ${cost}`),
  ];
  if (logs !== undefined) lines.push(`logs: ${logs}/`);
  return `${lines.join("\n")}\n`;
}
