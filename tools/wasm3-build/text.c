/* Strings, growing text, files, and the end of the run. */
#include "wasm3-build.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("wasm3-build: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(1);
}

void *allocate(size_t bytes) {
  void *memory = calloc(1, bytes ? bytes : 1);
  if (!memory) die("out of memory: %zu bytes wanted", bytes);
  return memory;
}

void *grow(void *array, size_t count, size_t size) {
  if (count & (count - 1)) return array; /* room for a power of two is there already */
  size_t room = count ? 2 * count : 1;
  array = realloc(array, room * size);
  if (!array) die("out of memory: %zu bytes wanted", room * size);
  memset((char *)array + count * size, 0, (room - count) * size);
  return array;
}

void append_arguments(struct Text *text, const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  size_t length = (size_t)vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (text->length + length >= text->capacity) {
    text->capacity = 2 * (text->length + length) + 64;
    text->chars = realloc(text->chars, text->capacity);
    if (!text->chars) die("out of memory: %zu bytes wanted", text->capacity);
  }
  vsnprintf(text->chars + text->length, length + 1, format, arguments);
  text->length += length;
}

void append(struct Text *text, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  append_arguments(text, format, arguments);
  va_end(arguments);
}

char *format(const char *format, ...) {
  struct Text text = {0};
  va_list arguments;
  va_start(arguments, format);
  append_arguments(&text, format, arguments);
  va_end(arguments);
  return text.chars;
}

u8 *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) die("cannot read %s: %m", path);
  u8 *bytes = NULL;
  size_t length = 0, room = 0;
  do {
    if (length == room) bytes = realloc(bytes, (room = 2 * room + 65536) + 1);
    if (!bytes) die("out of memory: %zu bytes wanted", room);
    length += fread(bytes + length, 1, room - length, file);
  } while (!feof(file) && !ferror(file));
  if (ferror(file)) die("cannot read %s: %m", path);
  fclose(file);
  bytes[length] = 0; /* for those who read text */
  *size = length;
  return bytes;
}

void write_file(const char *path, const struct Text *text) {
  char *temporary = format("%s.%d.tmp", path, (int)getpid());
  FILE *file = fopen(temporary, "wb");
  if (!file) die("cannot write %s: %m", temporary);
  bool whole = fwrite(text->chars, 1, text->length, file) == text->length;
  if (fclose(file) || !whole || rename(temporary, path)) {
    int error = errno;
    unlink(temporary);
    die("cannot write %s: %s", path, strerror(error));
  }
}
