/**
 * Physical memory in frames of 4 KiB, 2 MiB and 1 GiB. Memory that was never handed out is kept as ranges and cut on
 * demand; what comes back goes to a list per size, linked through the free frames themselves.
 */
import { Hpa } from "../lib/addr";
import * as phys from "../machine/phys";
import { alignDown, alignUp } from "../lib/bits";
import { options } from "./options";

export const SMALL: u64 = 0x1000;
export const LARGE: u64 = 0x200000;
export const HUGE: u64 = 0x40000000;
/** No frame: frame 0 is never handed out. */
export const NO_FRAME: Hpa = 0;

const MAX_RANGES: u32 = 512;


@unmanaged
class Range {
  base: u64;
  end: u64;
}


@unmanaged
class Frames {
  ranges: u32;
  padding: u32;
  freeSmall: u64;
  freeLarge: u64;
  freeHuge: u64;
  /** Bytes that can be handed out, and bytes that are. */
  total: u64;
  used: u64;
  /** What is handed out is below this: what root can reach. */
  limit: u64;
}

export const frames = changetype<Frames>(memory.data(56, 8));
const ranges = memory.data(8192, 8);

function range(n: u32): Range {
  return changetype<Range>(ranges + <usize>n * offsetof<Range>());
}

/** Without room for another range its memory is lost. */
function addRange(base: Hpa, end: Hpa): void {
  if (base >= end || frames.ranges == MAX_RANGES) return;
  const r = range(frames.ranges++);
  r.base = base;
  r.end = end;
}

function removeRange(n: u32): void {
  const r = range(n);
  const last = range(--frames.ranges);
  r.base = last.base;
  r.end = last.end;
}

/** Adds memory that may be handed out. Frame 0 and partial frames are left out; what is known already counts once. */
export function addMemory(base: Hpa, end: Hpa): void {
  base = max(alignUp(base, SMALL), SMALL);
  end = alignDown(end, SMALL);
  if (base >= end) return;
  reserveMemory(base, end);
  frames.total += end - base;
  addRange(base, end);
}

/** Takes [base, end) out again, before anything is handed out: the image, modules, what firmware left. */
export function reserveMemory(base: Hpa, end: Hpa): void {
  base = alignDown(base, SMALL);
  end = alignUp(end, SMALL);
  // Backwards: what takes the place of a range that is removed has been looked at.
  for (let i = <i32>frames.ranges - 1; i >= 0; i--) {
    const from = range(i).base;
    const to = range(i).end;
    if (base >= to || end <= from) continue;
    frames.total -= min(end, to) - max(base, from);
    removeRange(i);
    addRange(from, min(base, to));
    addRange(max(end, from), to);
  }
}

/** Cuts `size` bytes, aligned to as much, from the top of the highest range that has them below the limit. */
function cut(size: u64): Hpa {
  let best: u32 = MAX_RANGES;
  let bestAt: u64 = 0;
  for (let i: u32 = 0; i < frames.ranges; i++) {
    const r = range(i);
    const top = min(r.end, frames.limit);
    if (top < r.base || top - r.base < size) continue;
    const at = alignDown(top - size, size);
    if (at >= r.base && at > bestAt) {
      best = i;
      bestAt = at;
    }
  }
  if (best == MAX_RANGES) return NO_FRAME;
  const r = range(best);
  const end = r.end;
  const isMiddle = r.base < bestAt && bestAt + size < end;
  if (isMiddle && frames.ranges == MAX_RANGES) return NO_FRAME;
  r.end = bestAt;
  if (r.base == bestAt) removeRange(best);
  addRange(bestAt + size, end);
  return bestAt;
}

/** A frame of one of the three sizes, its contents undefined; NO_FRAME when there is none. */
export function allocate(size: u64): Hpa {
  const head = size == SMALL ? frames.freeSmall : size == LARGE ? frames.freeLarge : frames.freeHuge;
  let frame = head;
  if (head != NO_FRAME) setHead(size, phys.load64(head));
  else frame = cut(size);
  if (frame != NO_FRAME) frames.used += size;
  return frame;
}

/** A frame of zeros, unless the boot asked for memory that no VM has had yet to be left as firmware left it. */
export function allocateCleared(size: u64): Hpa {
  const fresh =
    (size == SMALL ? frames.freeSmall : size == LARGE ? frames.freeLarge : frames.freeHuge) == NO_FRAME;
  const frame = allocate(size);
  if (frame == NO_FRAME) return NO_FRAME;
  if (!fresh) phys.store64(frame, 0);
  else if (options.bootScrub) phys.fill(frame, 0, size);
  return frame;
}

/** Gives a frame back. Its contents are cleared first: what one VM wrote is never seen by another. */
export function release(frame: Hpa, size: u64): void {
  phys.fill(frame, 0, size);
  phys.store64(frame, size == SMALL ? frames.freeSmall : size == LARGE ? frames.freeLarge : frames.freeHuge);
  setHead(size, frame);
  frames.used -= size;
}

function setHead(size: u64, frame: u64): void {
  if (size == SMALL) frames.freeSmall = frame;
  else if (size == LARGE) frames.freeLarge = frame;
  else frames.freeHuge = frame;
}

/** A 4 KiB frame of zeros. */
export function allocateZeroed(): Hpa {
  const frame = allocate(SMALL);
  if (frame != NO_FRAME) phys.fill(frame, 0, SMALL);
  return frame;
}
