/**
 * The boot modules. A module's string starts with its role:
 *
 *     kernel [name=NAME] [memory=SIZE] [-- guest's command line]     a new VM
 *     initrd                                                        of the kernel before it
 *     lines                                                         the line table
 */
import { Text } from "../lib/text";
import { boot, module, textAt } from "./boot";
import { LARGE } from "./frames";
import { useLines } from "./lines";
import { say, warning } from "./log";
import { Word, nextWord } from "./options";
import { MAX_VMS, table, vm } from "./vm";

const DEFAULT_MEMORY: u64 = 256 << 20;
const text = memory.data(2048);
const word = changetype<Word>(memory.data(8));

/** Reads the words of a kernel's string after the role, from `at` on. */
function readKernel(n: u32, at: usize, end: usize, why: Text): bool {
  if (table.count == MAX_VMS) {
    why.str("modules: more than ").dec(MAX_VMS).str(" kernels");
    return false;
  }
  const v = vm(table.count);
  v.id = table.count++;
  v.kernel = module(n).start;
  v.kernelSize = module(n).size;
  v.memory = DEFAULT_MEMORY;
  for (at = nextWord(at, end, word); word.length > 0; at = nextWord(at, end, word)) {
    if (word.is("--")) {
      while (at < end && load<u8>(at) <= 32) at++;
      v.commandLine = module(n).text;
      v.commandLineSkip = <u32>(at - text);
      break;
    }
    if (word.starts("memory=")) {
      const size = word.size();
      if (size < <i64>LARGE || size & (LARGE - 1)) {
        why.str("vm").dec(v.id).str(": ").bytes(word.start, word.length).str(": expected a multiple of 2M");
        return false;
      }
      v.memory = size;
    } else {
      why.str("vm").dec(v.id).str(": ").bytes(word.start, word.length).str(": not known");
      return false;
    }
  }
  return true;
}

/** Reads all modules; false, with the reason in `why`, for one that makes no sense. */
export function readModules(why: Text): bool {
  for (let n: u32 = 0; n < boot.modules; n++) {
    const end = text + textAt(module(n).text, text);
    const at = nextWord(text, end, word);
    if (word.is("kernel")) {
      if (!readKernel(n, at, end, why)) return false;
    } else if (word.is("initrd") && table.count > 0) {
      vm(table.count - 1).initrd = module(n).start;
      vm(table.count - 1).initrdSize = module(n).size;
    } else if (word.is("lines")) {
      if (!useLines(module(n).start, module(n).size))
        say(warning().str("lines: not the line table of this build"));
    } else {
      why
        .str("module ")
        .dec(n)
        .str(": ")
        .bytes(text, <u32>(end - text))
        .str(": expected kernel, initrd or lines");
      return false;
    }
  }
  if (table.count == 0) {
    why.str("modules: no kernel");
    return false;
  }
  return true;
}
