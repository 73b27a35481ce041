/** Several streams on one terminal: each line carries the name of its stream, and unfinished lines show at once. */

export class MergedOutput {
  private open: string | undefined;

  constructor(private readonly write: (text: string) => void) {}

  add(name: string, text: string): void {
    for (const piece of text.split(/(?<=\n)/)) {
      if (piece === "") continue;
      if (this.open !== undefined && this.open !== name) this.write("\n");
      if (this.open !== name) this.write(`${name} | `);
      this.write(piece);
      this.open = piece.endsWith("\n") ? undefined : name;
    }
  }

  /** Ends an unfinished line. */
  end(): void {
    if (this.open !== undefined) this.write("\n");
    this.open = undefined;
  }
}
