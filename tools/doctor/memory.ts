/** Physical memory as far as a running system shows it: pages that were put there; all else reads as ones, as where nothing is. */

const PAGE = 4096;

export class Memory {
  private readonly pages = new Map<number, Uint8Array>();

  put(at: number, bytes: Uint8Array): void {
    bytes.forEach((byte, i) => {
      const number = Math.floor((at + i) / PAGE);
      let page = this.pages.get(number);
      if (!page) this.pages.set(number, (page = new Uint8Array(PAGE).fill(0xff)));
      page[(at + i) % PAGE] = byte;
    });
  }

  byte(at: number): number {
    return this.pages.get(Math.floor(at / PAGE))?.[at % PAGE] ?? 0xff;
  }

  load(at: number, size: number): bigint {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.byte(at + i));
    return value;
  }
}
