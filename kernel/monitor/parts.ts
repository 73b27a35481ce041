/**
 * The parts of a kernel and where in guest RAM they go. The file itself is in guest RAM too: parts are moved within it, in
 * pieces, so that a large kernel does not look like a monitor that hangs.
 */
import { LoadError } from "../abi/stop";
import * as guest from "../machine/guest";
import { LOW_END, LOW_FREE, MIB, info } from "./layout";

const PIECE: u64 = 0x80000;
const MAX_PARTS: u32 = 32;


@unmanaged
class Part {
  /** What is still to be moved, and then what is still to be cleared. */
  to: u64;
  from: u64;
  left: u64;
  clear: u64;
  clearLeft: u64;
  /** All of it. */
  start: u64;
  end: u64;
}


@unmanaged
class Parts {
  count: u32;
  /** Parts that are moved, and parts that are cleared. */
  moved: u32;
  cleared: u32;
}

const table = memory.data(1792, 8);
const parts = changetype<Parts>(memory.data(12));

function part(n: u32): Part {
  return changetype<Part>(table + <usize>n * offsetof<Part>());
}

export function clearParts(): void {
  parts.count = 0;
  parts.moved = 0;
  parts.cleared = 0;
}

/** Bytes of the file to an address. Its caller has checked both. Without more parts it may overlap the file. */
export function addMove(to: u64, from: u64, size: u64): void {
  const p = part(parts.count++);
  p.to = to;
  p.from = from;
  p.left = size;
  p.clear = to + size;
  p.clearLeft = 0;
  p.start = to;
  p.end = to + size;
}

function meets(start: u64, end: u64, from: u64, size: u64): bool {
  return start < from + size && end > from;
}

/** Why [start, end), which is RAM below 4 GiB, cannot be a part whose first `size` bytes are in the file. */
function obstacle(start: u64, end: u64, size: u64): u32 {
  if (start < MIB && (start < LOW_FREE || end > LOW_END)) return LoadError.MeetsTables;
  if (info.initrdSize > 0 && meets(start, end, info.initrdAddress, info.initrdSize))
    return LoadError.MeetsInitrd;
  // The file is above all, so that more memory is a way out. What is only cleared may be there: that is done last.
  if (size > 0 && meets(start, start + size, info.kernelAddress, info.kernelSize))
    return LoadError.MemoryTooSmall;
  for (let i: u32 = 0; i < parts.count; i++) {
    if (start < part(i).end && end > part(i).start) return LoadError.PartsOverlap;
  }
  return LoadError.None;
}

/** `size` bytes at `offset` in the file go to `to`; what is left of `room` is cleared. Everything is checked. */
export function addPart(to: u64, offset: u64, size: u64, room: u64): u32 {
  if (size > room) return LoadError.PartTooLarge;
  if (size > 0 && (offset > info.kernelSize || size > info.kernelSize - offset)) return LoadError.Truncated;
  if (room == 0) return LoadError.None;
  if (room > info.ramLow || to > info.ramLow - room) return LoadError.OutsideMemory;
  const why = obstacle(to, to + room, size);
  if (why != LoadError.None) return why;
  if (parts.count == MAX_PARTS) return LoadError.TooManyParts;
  addMove(to, info.kernelAddress + offset, size);
  const p = part(parts.count - 1);
  p.clearLeft = room - size;
  p.end = to + room;
  return LoadError.None;
}

/** Whether the address is in a part. */
export function isInPart(at: u64): bool {
  for (let i: u32 = 0; i < parts.count; i++) if (at >= part(i).start && at < part(i).end) return true;
  return false;
}

/** Upwards from the end, downwards from the start, so that nothing is overwritten that is still to be moved. */
function move(p: Part): void {
  const piece = min(p.left, PIECE);
  const offset = p.to > p.from ? p.left - piece : 0;
  guest.move(p.to + offset, p.from + offset, piece);
  if (offset == 0) {
    p.to += piece;
    p.from += piece;
  }
  p.left -= piece;
}

function clear(p: Part): void {
  const piece = min(p.clearLeft, PIECE);
  guest.fill(p.clear, 0, piece);
  p.clear += piece;
  p.clearLeft -= piece;
}

/** Does a piece of the work; false when there was none left. */
export function placePiece(): bool {
  while (parts.moved < parts.count && part(parts.moved).left == 0) parts.moved++;
  if (parts.moved < parts.count) {
    move(part(parts.moved));
    return true;
  }
  while (parts.cleared < parts.count && part(parts.cleared).clearLeft == 0) parts.cleared++;
  if (parts.cleared == parts.count) return false;
  clear(part(parts.cleared));
  return true;
}

if (MAX_PARTS * offsetof<Part>() != 1792) ERROR("the table has no room for the parts");
