/** Heap sort of ranges of memory by their address, as a memory map's. */
@unmanaged
class Range {
  start: u64;
  length: u64;
}

function at(ranges: usize, index: u32): Range {
  return changetype<Range>(ranges + <usize>index * offsetof<Range>());
}

function swap(a: Range, b: Range): void {
  const start = a.start;
  const length = a.length;
  a.start = b.start;
  a.length = b.length;
  b.start = start;
  b.length = length;
}

function sift(ranges: usize, from: u32, count: u32): void {
  let parent = from;
  for (;;) {
    let child: u32 = 2 * parent + 1;
    if (child >= count) return;
    if (child + 1 < count && at(ranges, child).start < at(ranges, child + 1).start) child++;
    if (at(ranges, parent).start >= at(ranges, child).start) return;
    swap(at(ranges, parent), at(ranges, child));
    parent = child;
  }
}

export function sortRanges(ranges: usize, count: u32): void {
  for (let i = count / 2; i > 0; i--) sift(ranges, i - 1, count);
  for (let end = count; end > 1; end--) {
    swap(at(ranges, 0), at(ranges, end - 1));
    sift(ranges, 0, end - 1);
  }
}
