/* asc's source map (version 3): from offsets in the wasm file to lines of TypeScript.
 *
 * `mappings` is one line, for wasm has one "line"; its segments are separated by commas, each one to five numbers in
 * base-64 VLQ: wasm offset, source, line, column, name, all relative to the segment before. A segment of one number
 * says that no place in the sources belongs to the instructions that follow. */
#include "wasm3-build.h"

#include <stdlib.h>
#include <string.h>

/* Skips a JSON value and what separates it from the next token. Strings are the only tokens that can hold brackets.
 */
static const char *skip_string(const char *p) {
  for (p++; *p && *p != '"'; p++)
    if (*p == '\\' && p[1]) p++;
  return *p ? p + 1 : p;
}

/* The value of a key of the map's outermost object; NULL if it has no such key. */
static const char *find_key(const char *json, const char *key) {
  size_t length = strlen(key);
  int depth = 0;
  for (const char *p = json; *p;) {
    if (*p == '"') {
      const char *end = skip_string(p);
      const char *after = end + strspn(end, " \t\r\n");
      if (depth == 1 && *after == ':' && (size_t)(end - p) == length + 2 && !strncmp(p + 1, key, length))
        return after + 1 + strspn(after + 1, " \t\r\n");
      p = end;
    } else {
      depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
      p++;
    }
  }
  return NULL;
}

/* Paths come relative to asc's base directory, which is the repository's root; some versions put "./" before. */
static const char *normalise(const char *path) {
  while (!strncmp(path, "./", 2)) path += 2;
  return path;
}

static void read_sources(struct Module *module, const char *path, const char *p) {
  if (!p || *p != '[') die("%s: expected an array \"sources\", as asc --sourceMap writes", path);
  for (p++; *p && *p != ']';) {
    if (*p != '"') {
      p++;
      continue;
    }
    const char *end = skip_string(p);
    char *name = format("%.*s", (int)(end - p - 2), p + 1);
    if (strpbrk(name, "\\\"\n")) die("%s: source name %s: expected no quotes or backslashes", path, name);
    module->sources = grow(module->sources, module->source_count, sizeof *module->sources);
    module->sources[module->source_count++] = normalise(name);
    p = end;
  }
}

/* Reads one VLQ number; false if there is none at *p. */
static bool read_vlq(const char **p, int64_t *number) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  u64 value = 0;
  for (int shift = 0; shift < 60; shift += 5) {
    const char *digit = **p ? strchr(digits, **p) : NULL;
    if (!digit) return false;
    ++*p;
    u64 bits = (u64)(digit - digits);
    value |= (bits & 31) << shift;
    if (!(bits & 32)) {
      *number = value & 1 ? -(int64_t)(value >> 1) : (int64_t)(value >> 1);
      return true;
    }
  }
  return false;
}

void read_source_map(struct Module *module, const char *path) {
  size_t size;
  const char *json = (const char *)read_file(path, &size);
  read_sources(module, path, find_key(json, "sources"));
  const char *p = find_key(json, "mappings");
  if (!p || *p != '"') die("%s: expected a string \"mappings\", as asc --sourceMap writes", path);

  int64_t offset = 0, source = 0, line = 0, column = 0;
  for (p++; *p != '"'; p += *p == ',') {
    int64_t fields[5];
    int count = 0;
    while (count < 5 && read_vlq(&p, &fields[count])) count++;
    if ((*p != ',' && *p != '"') || (count != 1 && count < 4))
      die("%s: mappings: expected segments of 1, 4 or 5 numbers on one line", path);
    offset += fields[0];
    if (count > 1) source += fields[1], line += fields[2], column += fields[3];
    if (offset < 0 || offset > UINT32_MAX || source < 0 || source >= module->source_count || line < 0 ||
        line >= 1 << 30 || column < 0 || column >= 1 << 30)
      die("%s: mappings: wasm offset %lld, source %lld, line %lld, column %lld: out of range", path, (long long)offset,
          (long long)source, (long long)line, (long long)column);
    module->mappings = grow(module->mappings, module->mapping_count, sizeof *module->mappings);
    module->mappings[module->mapping_count++] =
        (struct Mapping){(u32)offset, count > 1 ? (u32)source : NONE, (u32)line + 1, (u32)column + 1};
  }
}

static bool is_library(const struct Module *module, const struct Mapping *mapping) {
  return !strncmp(module->sources[mapping->source], "~lib/", 5);
}

bool find_place(const struct Module *module, const struct Function *function, u32 wasm_offset, bool of_user,
                const char **file, u32 *line) {
  if (!function->body) return false;
  u32 start = (u32)(function->body - module->bytes), end = (u32)(function->body_end - module->bytes);
  u32 low = 0, high = module->mapping_count;
  while (low < high) {
    u32 middle = (low + high) / 2;
    if (module->mappings[middle].wasm_offset < start) low = middle + 1;
    else high = middle;
  }
  const struct Mapping *found = NULL;
  for (u32 i = low; i < module->mapping_count && module->mappings[i].wasm_offset < end; i++) {
    const struct Mapping *mapping = &module->mappings[i];
    if (found && (wasm_offset == NONE || mapping->wasm_offset > wasm_offset)) break;
    if (mapping->source != NONE && !(of_user && is_library(module, mapping))) found = mapping;
  }
  if (!found) return false;
  *file = module->sources[found->source];
  *line = found->line;
  return true;
}
