/** VMs for tests of root: boot modules, and crash records as the fault stubs write them. */
import { abi } from "./layout.ts";
import type { BootModule } from "./loader.ts";
import type { FakeHost } from "./host.ts";

export const MIB = 1n << 20n;

/** A kernel's module: a few bytes that no one executes. */
export function kernel(words = "memory=4M"): BootModule {
  return { bytes: new Uint8Array(5000).fill(0x90), text: `kernel ${words}` };
}

export function kernels(count: number): BootModule[] {
  return Array.from({ length: count }, () => kernel());
}

export interface Crash {
  vector: number;
  error?: number;
  rip?: bigint;
  rsp?: bigint;
  rdi?: bigint;
  cr2?: bigint;
  message?: number;
  file?: number;
  line?: number;
  column?: number;
}

/** Kinds of traps in RDI, with #UD (wasm3-runtime.h, kernel/machine/env.h). */
export const trapKind = { unreachable: 1n, divideByZero: 2n, abort: 100n };

/** Fills the CPU's crash record. Whose context faulted says the Leave. */
export function crash(host: FakeHost, crash: Crash): void {
  const view = new DataView(host.crashRecord.buffer);
  view.setUint32(abi("CRASHRECORD_VECTOR"), crash.vector, true);
  view.setUint32(abi("CRASHRECORD_ERROR"), crash.error ?? 0, true);
  view.setBigUint64(abi("CRASHRECORD_RIP"), crash.rip ?? 0x203000n, true);
  view.setBigUint64(abi("GPRS_RSP"), crash.rsp ?? 0n, true);
  view.setBigUint64(abi("GPRS_RDI"), crash.rdi ?? 0n, true);
  view.setBigUint64(abi("CRASHRECORD_CR2"), crash.cr2 ?? 0n, true);
  view.setUint32(abi("CRASHRECORD_ABORT_MESSAGE"), crash.message ?? 0, true);
  view.setUint32(abi("CRASHRECORD_ABORT_FILE"), crash.file ?? 0, true);
  view.setUint32(abi("CRASHRECORD_ABORT_LINE"), crash.line ?? 0, true);
  view.setUint32(abi("CRASHRECORD_ABORT_COLUMN"), crash.column ?? 0, true);
}
