import { describe, expect, test } from "vitest";
import { CodeGuest, type CodeSize } from "./fake/code.ts";
import { vendors } from "./fake/cpu.ts";
import { Gpr } from "./fake/exit.ts";
import { instructions } from "./oracle/instructions.ts";
import { assemble } from "./oracle/nasm.ts";

describe.each(vendors)("On %s:", (vendor) => {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

  /** What the monitor takes for the length of each instruction, beside NASM's. */
  function differences(guest: CodeGuest, texts: string[], codes: Uint8Array[]): string[] {
    const different: string[] = [];
    texts.forEach((text, n) => {
      for (let r = Gpr.rax; r <= Gpr.r15; r++) guest.set(r, 0x600800);
      guest.set(Gpr.rcx, 1);
      // What follows would be another displacement or immediate.
      guest.access([...codes[n]!, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90]);
      if (guest.length !== codes[n]!.length) different.push(`${text}: ${hex(codes[n]!)}: ${guest.length}`);
    });
    return different;
  }

  for (const size of [16, 32, 64] as CodeSize[]) {
    test(`The length of ${size}-bit instructions is what NASM makes it`, () => {
      const texts = instructions(size);
      const guest = new CodeGuest({ vendor, size });
      expect(texts.length).toBeGreaterThan(3000);
      expect(differences(guest, texts, assemble(size, texts))).toEqual([]);
    });
  }
});
