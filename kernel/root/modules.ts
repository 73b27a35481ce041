/**
 * The boot modules. A module's string starts with its role:
 *
 *     kernel [memory=SIZE] [-- guest's command line]     a new VM
 *     initrd                                             of the kernel before it
 *     lines                                              the line table
 */
import { Text } from "../lib/text";
import { TEXT_MAX, boot, module, textAt } from "./boot";
import { LARGE } from "./frames";
import { useLines } from "./lines";
import { say, warning } from "./log";
import { SHOWN, Word, nextWord } from "./options";
import { MAX_VMS, table, vm } from "./vm";

const DEFAULT_MEMORY: u64 = 256 << 20;
const text = memory.data(2048);
const word = changetype<Word>(memory.data(8));

/** Names the module and a word of its string, and says what was expected. */
function refuse(n: u32, word: Word, what: string, why: Text): bool {
  why.str("module ").dec(n).str(": ").bytes(word.start, min(word.length, SHOWN)).str(": ").str(what);
  return false;
}

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
        return refuse(n, word, "expected a multiple of 2M", why);
      }
      v.memory = size;
    } else {
      return refuse(n, word, "expected memory=SIZE, or -- and the guest's command line", why);
    }
  }
  return true;
}

/** Takes the module for the VM before it. */
function readInitrd(n: u32, why: Text): bool {
  if (table.count == 0) return refuse(n, word, "expected after a kernel", why);
  const v = vm(table.count - 1);
  if (v.initrd != 0) return refuse(n, word, "expected once after a kernel", why);
  v.initrd = module(n).start;
  v.initrdSize = module(n).size;
  return true;
}

/** Reads all modules; false, with the reason in `why`, for one that makes no sense. */
export function readModules(why: Text): bool {
  for (let n: u32 = 0; n < boot.modules; n++) {
    const length = textAt(module(n).text, text);
    if (length > TEXT_MAX) {
      why.str("module ").dec(n).str(": expected a string of ").dec(TEXT_MAX).str(" bytes at most");
      return false;
    }
    const end = text + length;
    const at = nextWord(text, end, word);
    if (word.is("kernel")) {
      if (!readKernel(n, at, end, why)) return false;
    } else if (word.is("initrd")) {
      if (!readInitrd(n, why)) return false;
    } else if (word.is("lines")) {
      if (!useLines(module(n).start, module(n).size))
        say(warning().str("lines: not the line table of this build"));
    } else {
      return refuse(n, word, "expected kernel, initrd or lines", why);
    }
  }
  if (table.count == 0) {
    why.str("modules: no kernel");
    return false;
  }
  return true;
}
