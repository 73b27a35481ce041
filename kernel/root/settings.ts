/**
 * settings.txt, a boot module that people edit on the stick (docs/test-machine.md): one name=value a line. The words of
 * the hypervisor's command line, of which that one's own win; and what is true of each VM whose kernel's string does not
 * say otherwise. Two names differ from there: cpus= is the VM's, hostcpus= the hypervisor's. A line ends with LF, CR, or both.
 */
import { Text } from "../lib/text";
import { load8 } from "../machine/phys";
import { TEXT_MAX, boot, module, textAt } from "./boot";
import { KNOWN, SHOWN, Word, nextWord, setOption } from "./options";
import { VmOptions, isVmOption, setVmOption } from "./vmoptions";

const SIZE_MAX: u64 = 65536;
const TAB: u32 = 9;
const LF: u32 = 10;
const CR: u32 = 13;
const HASH: u32 = 35;
const DELETE: u32 = 127;
/** What Windows' editor may put before UTF-8: EF BB BF. */
const MARK: u32 = 0xbfbbef;


@unmanaged
class Append {
  length: u32;

  get start(): usize {
    return appendBytes;
  }
}

/** What is true of VMs unless their kernels' strings say otherwise. */
export const vmSettings = changetype<VmOptions>(memory.data(24, 8));
/** The command line of guests whose kernels' strings have none. */
export const append = changetype<Append>(memory.data(4));
const appendBytes = memory.data(2048);
const line = memory.data(2048);
const word = changetype<Word>(memory.data(8));

/** Whether the module's string says that it is settings.txt. */
function isSettings(n: u32): bool {
  const length = textAt(module(n).text, line);
  if (length > TEXT_MAX) return false;
  nextWord(line, line + length, word);
  return word.is("settings");
}

/** For what is wrong with line n: where it is to be written, nowhere when another mistake came first. */
function wrong(n: u32, why: Text): Text | null {
  return why.length > 0 ? null : why.str("settings.txt: line ").dec(n).str(": ");
}

function setAppend(from: usize, end: usize): void {
  while (from < end && load<u8>(from) <= 32) from++;
  while (end > from && load<u8>(end - 1) <= 32) end--;
  append.length = <u32>(end - from);
  memory.copy(appendBytes, from, append.length);
}

/** Takes the word; null, or what was expected of it. */
function set(): string | null {
  if (isVmOption(word)) return setVmOption(word, vmSettings);
  // The hypervisor's own cpus=.
  const isHost = word.starts("hostcpus=");
  if (isHost) {
    word.start += 4;
    word.length -= 4;
  }
  const expected = setOption(word);
  if (isHost) {
    word.start -= 4;
    word.length += 4;
  }
  return expected == KNOWN
    ? "memory=, cpus=, tsckhz=, append=, hostcpus=, or a word of the command line"
    : expected;
}

/** Reads line n, whose text is in `line`. */
function readLine(n: u32, length: u32, why: Text): void {
  const end = line + length;
  const next = nextWord(line, end, word);
  if (word.length == 0 || load<u8>(word.start) == HASH) return;
  if (word.starts("append=")) return setAppend(word.start + 7, end);
  let expected = set();
  const from = word.start;
  const shown = min(word.length, SHOWN);
  nextWord(next, end, word);
  if (expected == null && word.length > 0) expected = "nothing behind it on its line";
  if (expected == null) return;
  const out = wrong(n, why);
  if (out != null) out.bytes(from, shown).str(": expected ").str(expected);
}

/** Reads the file's lines. The first mistake is written to `why`, if nothing is there yet. */
function readFile(base: u64, size: u64, why: Text): void {
  let n: u32 = 1;
  let length: u32 = 0;
  let bad = false;
  for (
    let i: u64 =
      size >= 3 && (load8(base) | (load8(base + 1) << 8) | (load8(base + 2) << 16)) == MARK ? 3 : 0;
    i < size;
    i++
  ) {
    const c = load8(base + i);
    if (c == LF || c == CR) {
      if (c == CR && i + 1 < size && load8(base + i + 1) == LF) i++;
      if (!bad) readLine(n, length, why);
      n++;
      length = 0;
      bad = false;
      continue;
    }
    if (bad) continue;
    const isText = (c >= 32 || c == TAB) && c != DELETE;
    bad = !isText || length == TEXT_MAX;
    if (!bad) {
      store<u8>(line + length++, <u8>c);
      continue;
    }
    const out = wrong(n, why);
    if (out == null) continue;
    if (isText) out.str("expected ").dec(TEXT_MAX).str(" bytes at most");
    else out.str("expected text (UTF-8), has a byte ").hex(c, 2);
  }
  if (!bad) readLine(n, length, why);
}

/** Reads settings.txt, if there is one; its words come before those of the command line. */
export function readSettings(why: Text): void {
  // Modules need not be where they are said to be if the loader's information makes no sense.
  if (why.length > 0) return;
  for (let i: u32 = 0; i < boot.modules; i++) {
    if (!isSettings(i)) continue;
    const size = module(i).size;
    if (size > SIZE_MAX)
      why.str("settings.txt: expected ").dec(SIZE_MAX).str(" bytes at most, has ").dec(size);
    else readFile(module(i).start, size, why);
    return;
  }
}
