/**
 * What the boot loader says of the screen: Multiboot2 2.0 3.6.12 (Framebuffer info) and Multiboot 0.6.96 3.3 (framebuffer_*).
 * What cannot be painted on is left aside by name.
 */
import { Text } from "../../lib/text";
import { load16, load32, load64, load8 } from "../../machine/phys";
import { TEXT_COLUMNS, TEXT_ROWS } from "./vgatext";

export namespace Kind {
  export const None: u32 = 0;
  export const Text: u32 = 1;
  export const Pixels: u32 = 2;
}

/** The loader's framebuffer_type. */
namespace Told {
  export const Direct: u32 = 1;
  export const EgaText: u32 = 2;
}

const SMALLEST_WIDTH: u32 = 320;
const SMALLEST_HEIGHT: u32 = 200;
const LARGEST: u32 = 16384;
const LOW_END: u64 = 0x100000;
/** I/O APICs, local APICs and firmware are from here to 4 GiB. */
const CHIPSET: u64 = 0xfec00000;
const CHIPSET_END: u64 = 0x100000000;


@unmanaged
export class Display {
  address: u64;
  kind: u32;
  pitch: u32;
  width: u32;
  height: u32;
  /** Bits a pixel. */
  depth: u32;
  told: u32;
  /** Position and width in bits of red, green and blue: six bytes. */
  masks: u32;
  masksHigh: u32;
  /** Whether the loader has said anything. */
  given: bool;

  /** What of the framebuffer is used, in bytes. */
  get length(): u64 {
    return <u64>this.pitch * this.height;
  }

  get end(): u64 {
    return this.address + this.length;
  }

  /** Copies what the loader says: `at` is its address of the framebuffer, `colours` where the masks are. */
  tell(at: u64, colours: u64): void {
    this.given = true;
    this.address = load64(at);
    this.pitch = load32(at + 8);
    this.width = load32(at + 12);
    this.height = load32(at + 16);
    this.depth = load8(at + 20);
    this.told = load8(at + 21);
    this.masks = load32(colours);
    this.masksHigh = load16(colours + 4);
  }

  /** Position (0) or width (1) of red (0), green (1) and blue (2). */
  private mask(colour: u32, what: u32): u32 {
    return ((colour == 2 ? this.masksHigh : this.masks >> (colour * 16)) >> (what * 8)) & 255;
  }

  /** The pixel of a colour of 8 bits each of red, green and blue. */
  pixel(rgb: u32): u32 {
    let value: u32 = 0;
    for (let colour: u32 = 0; colour < 3; colour++) {
      const part = (rgb >> (16 - colour * 8)) & 255;
      const most: u32 = (1 << this.mask(colour, 1)) - 1;
      value |= ((part * most + 127) / 255) << this.mask(colour, 0);
    }
    return value;
  }

  private hasMasks(): bool {
    let used: u32 = 0;
    for (let colour: u32 = 0; colour < 3; colour++) {
      const at = this.mask(colour, 0);
      const size = this.mask(colour, 1);
      if (size == 0 || size > 16 || at + size > ((this.depth + 7) & ~7)) return false;
      const bits: u32 = ((1 << size) - 1) << at;
      if (used & bits) return false;
      used |= bits;
    }
    return true;
  }

  /**
   * Decides what is painted on. `limit` is the first address that root cannot reach. Says in `why` what of the loader's words
   * makes no sense, if something does not: then there is no screen. Whether memory is there is the caller's question.
   */
  judge(limit: u64, why: Text): void {
    this.kind = Kind.None;
    const out = why.str("screen: the boot loader's framebuffer: ");
    const bytes = (this.depth + 7) / 8;
    if (this.told == Told.EgaText) {
      if (this.width == TEXT_COLUMNS && this.height == TEXT_ROWS && this.address == 0xb8000)
        return this.accept(why, Kind.Text);
      out.str("expected text of 80 x 25 at 0xb8000, is ").dec(this.width).str(" x ").dec(this.height);
      out.str(" at ").hex(this.address);
    } else if (this.told != Told.Direct) {
      out.str("expected type 1 (RGB) or 2 (text), is ").dec(this.told);
    } else if (this.depth != 15 && this.depth != 16 && this.depth != 24 && this.depth != 32) {
      out.str("expected 15, 16, 24 or 32 bits a pixel, is ").dec(this.depth);
    } else if (
      this.width < SMALLEST_WIDTH ||
      this.height < SMALLEST_HEIGHT ||
      this.width > LARGEST ||
      this.height > LARGEST
    ) {
      out.str("expected 320 x 200 to 16384 x 16384 pixels, is ").dec(this.width).str(" x ").dec(this.height);
    } else if (this.pitch < this.width * bytes) {
      out
        .str("expected ")
        .dec(this.width * bytes)
        .str(" bytes a line or more, is ")
        .dec(this.pitch);
    } else if (!this.hasMasks()) {
      out.str("expected red, green and blue apart within a pixel, is ");
      for (let i: u32 = 0; i < 6; i++)
        out.str(i == 0 ? "" : i & 1 ? ":" : ", ").dec(this.mask(i >> 1, i & 1));
    } else if (this.address < LOW_END || this.address >= limit || this.length > limit - this.address) {
      out.str("expected from 1 MiB on within ").hex(limit);
      this.place(out);
    } else if (this.address < CHIPSET_END && this.end > CHIPSET) {
      out.str("expected apart from the chipset at ").hex(CHIPSET);
      this.place(out);
    } else {
      this.accept(why, Kind.Pixels);
    }
  }

  place(out: Text): void {
    out.str(", is ").dec(this.length).str(" bytes at ").hex(this.address);
  }

  private accept(why: Text, kind: u32): void {
    why.length = 0;
    this.kind = kind;
  }
}

export const display = changetype<Display>(memory.data(48, 8));
