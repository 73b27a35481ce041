import { Gprs } from "./gprs";

/** What a fault stub records before it switches stacks. Root formats it (kernel/root/report.ts). */
@unmanaged
export class CrashRecord extends Gprs {
  // As IRETQ takes them.
  rip: u64;
  cs: u64;
  rflags: u64;
  frameRsp: u64;
  ss: u64;
  cr2: u64;
  cr3: u64;
  vector: u32;
  error: u32;
  // env.abort's arguments: linear addresses of two AssemblyScript strings, and a place in the source.
  abortMessage: u32;
  abortFile: u32;
  abortLine: u32;
  abortColumn: u32;
}
