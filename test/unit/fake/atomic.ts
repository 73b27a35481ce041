/** The intrinsics of kernel/machine/atomic.ts: nothing here runs at the same time as anything else. */
export function atomics(memory: () => DataView): WebAssembly.ModuleImports {
  const exchange = (change: (old: number, value: number) => number) => (address: number, value: number) => {
    const old = memory().getUint32(address >>> 0, true);
    memory().setUint32(address >>> 0, change(old, value) >>> 0, true);
    return old;
  };
  return {
    swap32: exchange((_, value) => value),
    or32: exchange((old, bits) => old | bits),
    add32: exchange((old, value) => old + value),
    replace32: (address: number, from: number, to: number) => {
      if (memory().getUint32(address >>> 0, true) !== from >>> 0) return 0;
      memory().setUint32(address >>> 0, to >>> 0, true);
      return 1;
    },
    pause: () => {},
  };
}
