/* Reads WebAssembly's binary format, within bounds: what runs past its end ends the run. */
#ifndef READER_H
#define READER_H

#include "wasm3-build.h"

struct Reader {
  const char *path, *section;
  const u8 *at, *end;
};

_Noreturn void malformed(const struct Reader *reader);
u8 read_byte(struct Reader *reader);
int64_t read_leb(struct Reader *reader, bool is_signed); /* LEB128: signed, or unsigned and below 2^63 */
u32 read_u32(struct Reader *reader);
u32 read_count(struct Reader *reader); /* of a vector's elements, each of at least a byte */
const u8 *read_bytes(struct Reader *reader, u32 count);
const char *read_name(struct Reader *reader);
char read_type(struct Reader *reader); /* w, x or f, see struct Type */

#endif
