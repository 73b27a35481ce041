/** What is said of a VM, in its kernel's string or in settings.txt: words, each name=value. 0 is what nothing was said of. */
import { MAX_VCPUS } from "../abi/address";
import { LARGE } from "./frames";
import { Word } from "./options";

/** What KVM's clock can say, and no CPU with VT-x is slower. */
const TSC_KHZ_LEAST: i64 = 1000;
const TSC_KHZ_MOST: i64 = 8000000;


@unmanaged
export class VmOptions {
  /** Bytes of guest RAM. */
  memory: u64;
  /** Frequency of its TSC in kHz. */
  tscKhz: u64;
  /** How many vCPUs. */
  cpus: u32;
}

export function isVmOption(word: Word): bool {
  return word.starts("memory=") || word.starts("cpus=") || word.starts("tsckhz=");
}

/** Takes the word, which isVmOption; null, or what was expected of its value. */
export function setVmOption(word: Word, to: VmOptions): string | null {
  if (word.starts("memory=")) {
    const size = word.size();
    if (size < <i64>LARGE || size & (LARGE - 1)) return "a multiple of 2M";
    to.memory = size;
    return null;
  }
  const n = word.number();
  if (word.starts("cpus=")) {
    if (n < 1 || n > <i64>MAX_VCPUS) return "1 to 16";
    to.cpus = <u32>n;
    return null;
  }
  if (n < TSC_KHZ_LEAST || n > TSC_KHZ_MOST) return "kHz, 1000 to 8000000";
  to.tscKhz = n;
  return null;
}
