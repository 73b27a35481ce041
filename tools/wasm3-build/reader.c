#include "reader.h"

void malformed(const struct Reader *reader) {
  die("%s: malformed %s section: expected a valid WebAssembly module", reader->path, reader->section);
}

u8 read_byte(struct Reader *reader) {
  if (reader->at == reader->end) malformed(reader);
  return *reader->at++;
}

int64_t read_leb(struct Reader *reader, bool is_signed) {
  u64 value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    u8 byte = read_byte(reader);
    value |= (u64)(byte & 0x7f) << shift;
    if (byte & 0x80) continue;
    if (is_signed && byte & 0x40 && shift < 57) value |= ~(u64)0 << (shift + 7);
    return (int64_t)value;
  }
  malformed(reader);
}

u32 read_u32(struct Reader *reader) {
  int64_t value = read_leb(reader, false);
  if (value < 0 || value > UINT32_MAX) malformed(reader);
  return (u32)value;
}

u32 read_count(struct Reader *reader) {
  u32 count = read_u32(reader);
  if (count > (size_t)(reader->end - reader->at)) malformed(reader);
  return count;
}

const u8 *read_bytes(struct Reader *reader, u32 count) {
  if (count > (size_t)(reader->end - reader->at)) malformed(reader);
  const u8 *bytes = reader->at;
  reader->at += count;
  return bytes;
}

const char *read_name(struct Reader *reader) {
  u32 length = read_count(reader);
  return format("%.*s", (int)length, (const char *)read_bytes(reader, length));
}

char read_type(struct Reader *reader) {
  u8 byte = read_byte(reader);
  return byte == 0x7f ? 'w' : byte == 0x7e ? 'x' : 'f';
}
