/** A bzImage around machine code: the smallest file that the 64-bit boot protocol takes (boot.rst). */
export interface BzImageOptions {
  version?: number;
  xloadflags?: number;
  setupSectors?: number;
  prefAddress?: bigint;
  initSize?: number;
  relocatable?: boolean;
  /** The byte at 201h: the header ends as far behind 202h. */
  jump?: number;
  alignment?: number;
  initrdMax?: number;
  commandLineSize?: number;
}

/** `code` is what runs at the 64-bit entry point, 200h behind the load address. */
export function bzImage(code: Uint8Array | number[], options: BzImageOptions = {}): Uint8Array {
  const sectors = options.setupSectors ?? 1;
  const setup = (sectors + 1) * 512;
  const system = (0x200 + code.length + 15) & ~15;
  const file = new Uint8Array(setup + system);
  const view = new DataView(file.buffer);
  view.setUint8(0x1f1, sectors);
  view.setUint32(0x1f4, system / 16, true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint8(0x200, 0xeb);
  view.setUint8(0x201, options.jump ?? 0x66);
  view.setUint32(0x202, 0x53726448, true);
  view.setUint16(0x206, options.version ?? 0x20f, true);
  view.setUint8(0x211, 1);
  view.setUint32(0x22c, options.initrdMax ?? 0x7fffffff, true);
  view.setUint32(0x230, options.alignment ?? 0x100000, true);
  view.setUint8(0x234, (options.relocatable ?? true) ? 1 : 0);
  view.setUint16(0x236, options.xloadflags ?? 1, true);
  view.setUint32(0x238, options.commandLineSize ?? 2047, true);
  view.setBigUint64(0x258, options.prefAddress ?? 0x100000n, true);
  view.setUint32(0x260, options.initSize ?? 0x100000, true);
  file.set(code, setup + 0x200);
  return file;
}
