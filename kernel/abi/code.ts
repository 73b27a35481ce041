/**
 * The bytes of the instruction that a monitor looked at last, as far as it fetched them, in the vCPU's area: for reports
 * and tests. To root it is untrusted.
 */
@unmanaged
export class CodeBytes {
  /** Bytes 0 to 7, and 8 to 14. */
  low: u64;
  high: u64;
  /** How many: the instruction's length, if all of it could be fetched. */
  length: u32;
}

export const INSTRUCTION_OFFSET: u32 = 2368;
