/**
 * The boot modules. A module's string starts with its role:
 *
 *     kernel [memory=SIZE] [cpus=N] [tsckhz=N] [-- guest's command line]     a new VM
 *     initrd                                             of the kernel before it
 *     lines                                              the line table
 *     settings                                           settings.txt, which has been read before (settings.ts)
 */
import { Text } from "../lib/text";
import * as backend from "./backend";
import { TEXT_MAX, boot, module, textAt } from "./boot";
import { clock } from "./clock";
import { useLines } from "./lines";
import { say, warning } from "./log";
import { SHOWN, Word, nextWord } from "./options";
import { vmSettings } from "./settings";
import { VCPUS } from "./vcpus";
import { MAX_VMS, Vm, addVcpus, table, vm } from "./vm";
import { VmOptions, isVmOption, setVmOption } from "./vmoptions";

const DEFAULT_MEMORY: u64 = 256 << 20;
const WORDS = "memory=SIZE, cpus=N, tsckhz=N, or -- and the guest's command line";
const text = memory.data(2048);
const word = changetype<Word>(memory.data(8));
/** What the kernel's string says. */
const given = changetype<VmOptions>(memory.data(24, 8));

/** Names the module and a word of its string, and says what was expected. */
function refuse(n: u32, word: Word, what: string, why: Text): bool {
  why.str("module ").dec(n).str(": ").bytes(word.start, min(word.length, SHOWN)).str(": ").str(what);
  return false;
}

/** Takes the frequency of the VM's TSC: where the CPU scales none, the host's alone. */
function takeTsc(n: u32, v: Vm, why: Text): bool {
  const khz = given.tscKhz ? given.tscKhz : vmSettings.tscKhz;
  v.tscKhz = khz == clock.tscHz / 1000 ? 0 : khz;
  if (!v.tscKhz || backend.scalesTsc()) return true;
  if (given.tscKhz) why.str("module ").dec(n);
  else why.str("settings.txt");
  why
    .str(": tsckhz=")
    .dec(khz)
    .str(": expected ")
    .dec(clock.tscHz / 1000)
    .str(", the host's; ")
    .str(backend.missingScale());
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
  given.memory = 0;
  given.tscKhz = 0;
  given.cpus = 0;
  for (at = nextWord(at, end, word); word.length > 0; at = nextWord(at, end, word)) {
    if (word.is("--")) {
      while (at < end && load<u8>(at) <= 32) at++;
      v.commandLine = module(n).text;
      v.commandLineSkip = <u32>(at - text);
      break;
    }
    const expected = isVmOption(word) ? setVmOption(word, given) : WORDS;
    if (expected != null) {
      refuse(n, word, "expected ", why);
      why.str(expected);
      return false;
    }
  }
  const memory = given.memory ? given.memory : vmSettings.memory;
  v.memory = memory ? memory : DEFAULT_MEMORY;
  if (!takeTsc(n, v, why)) return false;
  const cpus = max(1, given.cpus ? given.cpus : vmSettings.cpus);
  if (addVcpus(v, cpus)) return true;
  why.str("modules: more than ").dec(VCPUS).str(" vCPUs");
  return false;
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
  let settings = false;
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
    } else if (word.is("settings")) {
      if (settings) return refuse(n, word, "expected once", why);
      settings = true;
    } else {
      return refuse(n, word, "expected kernel, initrd, lines or settings", why);
    }
  }
  if (table.count == 0) {
    why.str("modules: no kernel");
    return false;
  }
  return true;
}
