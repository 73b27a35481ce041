/** CRC-32 of Ethernet and ZIP, a byte at a time through a table. */
/** The table's first `count` entries, of 256. */
export function crcTable(table: usize, count: u32): void {
  for (let i: u32 = 0; i < count; i++) {
    let value = i;
    for (let bit: u32 = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    store<u32>(table + ((<usize>i) << 2), value);
  }
}

export function crc(table: usize, data: usize, length: u32): u32 {
  let value: u32 = ~0;
  for (let i: u32 = 0; i < length; i++) {
    const index = (value ^ load<u8>(data + i)) & 255;
    value = load<u32>(table + ((<usize>index) << 2)) ^ (value >>> 8);
  }
  return ~value;
}
