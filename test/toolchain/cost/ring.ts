/** A console's ring: one side puts bytes, the other takes them; the indices are never reset. */
const SIZE: u32 = 1024;

@unmanaged
class Ring {
  head: u32;
  tail: u32;
  /** Bytes that found no room. */
  lost: u32;
}

function place(ring: Ring, index: u32): usize {
  return changetype<usize>(ring) + offsetof<Ring>() + (index & (SIZE - 1));
}

function put(ring: Ring, byte: u32): bool {
  if (ring.head - ring.tail >= SIZE) {
    ring.lost++;
    return false;
  }
  store<u8>(place(ring, ring.head), <u8>byte);
  ring.head++;
  return true;
}

function take(ring: Ring): i32 {
  if (ring.tail == ring.head) return -1;
  const byte = load<u8>(place(ring, ring.tail));
  ring.tail++;
  return byte;
}

/** Puts a text, a CR before each LF. Returns how many of its bytes found room. */
export function ringWrite(ring: Ring, text: usize, length: u32): u32 {
  for (let i: u32 = 0; i < length; i++) {
    const byte = load<u8>(text + i);
    if (byte == 10 && !put(ring, 13)) return i;
    if (!put(ring, byte)) return i;
  }
  return length;
}

/** Takes up to `room` bytes. Returns how many there were. */
export function ringRead(ring: Ring, to: usize, room: u32): u32 {
  for (let i: u32 = 0; i < room; i++) {
    const byte = take(ring);
    if (byte < 0) return i;
    store<u8>(to + i, <u8>byte);
  }
  return room;
}
