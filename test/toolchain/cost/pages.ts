/** Builds page tables of four levels, with the largest pages that fit, as kernel/root/tables.ts does. */
const LARGE: u64 = 1 << 21;
const HUGE: u64 = 1 << 30;
const ADDRESS: u64 = 0x000ffffffffff000;
const LARGE_PAGE: u64 = 1 << 7;

/** Frames to make tables of, filled with zeros, and what a mapping's entries have besides addresses. */
@unmanaged
class Space {
  next: u64;
  end: u64;
  top: u64;
  leaf: u64;
  table: u64;
  largest: u64;
}

function allocate(space: Space): u64 {
  if (space.next == space.end) return 0;
  const frame = space.next;
  space.next = frame + 4096;
  return frame;
}

function shiftOf(level: u32): u32 {
  return 12 + 9 * (level - 1);
}

function slot(table: u64, address: u64, level: u32): usize {
  return <usize>(table + ((address >> shiftOf(level)) & 511) * 8);
}

function descend(space: Space, address: u64, level: u32): u64 {
  let table = space.top;
  for (let at: u32 = 4; at > level; at--) {
    const place = slot(table, address, at);
    let entry = load<u64>(place);
    if (entry == 0) {
      const frame = allocate(space);
      if (frame == 0) return 0;
      entry = frame | space.table;
      store<u64>(place, entry);
    }
    assert((entry & LARGE_PAGE) == 0, "a large page is mapped where a table is wanted");
    table = entry & ADDRESS;
  }
  return table;
}

export function mapPages(space: Space, virtual: u64, physical: u64, length: u64): bool {
  while (length > 0) {
    const fit = virtual | physical;
    let level: u32 = 1;
    if (space.largest >= LARGE && (fit & (LARGE - 1)) == 0 && length >= LARGE) level = 2;
    if (space.largest >= HUGE && (fit & (HUGE - 1)) == 0 && length >= HUGE) level = 3;
    const table = descend(space, virtual, level);
    if (table == 0) return false;
    store<u64>(slot(table, virtual, level), physical | space.leaf | (level > 1 ? LARGE_PAGE : 0));
    const size = (<u64>1) << shiftOf(level);
    virtual += size;
    physical += size;
    length -= min(size, length);
  }
  return true;
}
