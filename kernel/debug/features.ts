/** Documents for GDB: the target description (GDB manual, Appendix G) and the list of threads (E.9). */
import { Text } from "../lib/text";
import { Reg, registerSize } from "./registers";
import { HYPERVISOR, NONE } from "./session";
import { nameThread, writeThread } from "./thread";
import { nextThread } from "./vm";

/** In the order of their numbers, without those that have numbers of their own. */
const NAMES = `rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags cs ss ds es fs gs
fctrl fstat ftag fiseg fioff foseg fooff fop mxcsr fs_base gs_base cr0 cr2 cr3 cr4 efer `;
/** As many threads as root has vCPUs. */
const ROOM: u32 = 16384;

const document = changetype<Text>(memory.data(16, 4));
const buffer = memory.data(16384);

function character(text: string, at: u32): u32 {
  return load<u16>(changetype<usize>(text) + (at << 1));
}

/** Adds a text's next word, which begins at character `at`; returns where the one behind it begins. */
export function wordAt(out: Text, text: string, at: u32): u32 {
  let c = character(text, at);
  while (c > 32) {
    out.byte(c);
    c = character(text, ++at);
  }
  return at + 1;
}

/** Adds word n. */
export function nth(out: Text, text: string, n: u32): void {
  let at: u32 = 0;
  for (; n > 0; n--) while (character(text, at++) > 32) {}
  wordAt(out, text, at);
}

function typeOf(n: u32): string {
  if (n == Reg.Rsp || n == Reg.Rsp - 1) return "data_ptr";
  if (n == Reg.Rip) return "code_ptr";
  switch (registerSize(n)) {
    case 16:
      return "uint128";
    case 10:
      return "i387_ext";
    case 4:
      return "int32";
    default:
      return "int64";
  }
}

function begin(out: Text, name: string): void {
  out.str('<feature name="org.').str(name).str('">');
}

/** The registers: three features that GDB knows, and our own. */
export function describe(): Text {
  const out = document.over(buffer, ROOM);
  out.str('<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target>');
  out.str("<architecture>i386:x86-64</architecture>");
  begin(out, "gnu.gdb.i386.core");
  let at: u32 = 0;
  for (let n: u32 = 0; n < Reg.Count; n++) {
    if (n == Reg.Orig) continue;
    if (n == Reg.Xmm0) begin(out.str("</feature>"), "gnu.gdb.i386.sse");
    if (n == Reg.FsBase) begin(out.str("</feature>"), "gnu.gdb.i386.segments");
    if (n == Reg.Cr0) begin(out.str("</feature>"), "typevisor.system");
    out.str('<reg name="');
    if (n >= Reg.St0 && n < Reg.Fctrl) out.str("st").dec(n - Reg.St0);
    else if (n >= Reg.Xmm0 && n < Reg.Mxcsr) out.str("xmm").dec(n - Reg.Xmm0);
    else at = wordAt(out, NAMES, at);
    if (n == Reg.FsBase) out.str('" regnum="').dec(n);
    out.str('" bitsize="').dec(registerSize(n) * 8);
    out.str('" type="').str(typeOf(n)).str('"/>');
  }
  return out.str("</feature></target>");
}

/** The threads there are. */
export function threads(): Text {
  const out = document.over(buffer, ROOM);
  out.str("<threads>");
  for (let thread = HYPERVISOR; thread != NONE; thread = nextThread(thread)) {
    writeThread(out.str('<thread id="'), thread);
    nameThread(out.str('" core="0" name="'), thread).str('"/>');
  }
  return out.str("</threads>");
}
