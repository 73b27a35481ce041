/* Writes the C of a module: what it includes, its constants, its table, its functions. */
#include "wasm3-build.h"

#include <string.h>

/* Runs of zeros shorter than this are cheaper as bytes than as another segment. */
enum { ZERO_RUN = 32 };

static void write_bytes(struct Text *text, const u8 *bytes, u32 length, const char *symbol, u32 number) {
  append(text, "static const u8 %s_bytes_%u[%u] = {", symbol, number, length);
  for (u32 i = 0; i < length; i++) append(text, "%s%u,", i % 32 ? "" : "\n    ", bytes[i]);
  append(text, "\n};\n");
}

/* The segments of the module may overlap, the later one winning, so they are laid into an image. */
u8 *read_image(const struct Module *module, u64 *end) {
  *end = 0;
  for (u32 i = 0; i < module->segment_count; i++) {
    const struct Segment *segment = &module->segments[i];
    if (segment->length && (u64)segment->offset + segment->length > *end) *end = (u64)segment->offset + segment->length;
  }
  u8 *image = allocate(*end);
  for (u32 i = 0; i < module->segment_count; i++)
    if (module->segments[i].length)
      memcpy(image + module->segments[i].offset, module->segments[i].bytes, module->segments[i].length);
  return image;
}

bool next_stretch(const u8 *image, u64 end, u64 *start, u64 *length) {
  while (*start < end && !image[*start]) ++*start;
  u64 last = *start; /* byte that is not zero */
  for (u64 i = *start; i < end && i - last < ZERO_RUN; i++)
    if (image[i]) last = i;
  *length = last + 1 - *start;
  return *start < end;
}

/* The initial memory without its zeros. */
static void write_segments(struct Text *text, const struct Module *module, const char *name) {
  u64 end, start = 0, length;
  u32 count = 0;
  const u8 *image = read_image(module, &end);
  struct Text table = {0};
  for (; next_stretch(image, end, &start, &length); start += length, count++) {
    write_bytes(text, image + start, (u32)length, name, count);
    append(&table, "    {%lluu, %lluu, %s_bytes_%u},\n", (unsigned long long)start, (unsigned long long)length, name,
           count);
  }
  append(text, "const u32 %s_memory_pages = WASM3_PAGES;\n", name);
  append(text, "const u32 %s_segment_count = %u;\n", name, count);
  if (!count) append(&table, "    {0, 0, 0}, /* C wants one */\n");
  append(text, "const struct wasm3_segment %s_segments[] = {\n%s};\n\n", name, table.chars);
}

static void write_prototypes(struct Text *text, const struct Module *module) {
  for (u32 i = module->import_count; i < module->function_count; i++) {
    const struct Function *function = &module->functions[i];
    append(text, "%s%s", function->exported ? "" : "static ", function->out_of_line ? "__attribute__((noinline)) " : "");
    append_signature(text, function->type, function->symbol);
    append(text, ";\n");
  }
  append(text, "\n");
}

/* A function that passes its arguments on. */
static void write_thunk(struct Text *text, const struct Type *type, const char *symbol, const char *callee) {
  append_signature(text, type, symbol);
  append(text, " { %s%s(", *type->results ? "return " : "", callee);
  u32 slot = (u32)strlen(type->results);
  for (const char *p = type->parameters; *p; p++)
    append(text, "%s%c%u", p == type->parameters ? "" : ", ", *p, slot++);
  append(text, "); }\n");
}

/* A function that is exported twice, or imported and exported. */
static void write_second_exports(struct Text *text, const struct Module *module) {
  for (u32 i = 0; i < module->export_count; i++) {
    const struct Export *export = &module->exports[i];
    if (export->kind != 0 || !strcmp(export->symbol, module->functions[export->index].symbol)) continue;
    write_thunk(text, module->functions[export->index].type, export->symbol, module->functions[export->index].symbol);
  }
}

/* The function table. Imports are inline functions whose C types may differ in name, so their entries are thunks. */
static void write_table_entries(struct Text *text, const struct Module *module, const char *name) {
  struct Text entries = {0};
  bool *has_thunk = allocate(module->function_count * sizeof *has_thunk);
  for (u32 i = 0; i < module->table_size; i++) {
    if (module->table[i] == NONE) {
      append(&entries, "    {0, 0},\n");
      continue;
    }
    const struct Function *function = &module->functions[module->table[i]];
    const char *symbol = function->symbol;
    if (function->import_module) {
      symbol = format("%s_thunk_%u", name, module->table[i]);
      if (!has_thunk[module->table[i]]) {
        append(text, "static ");
        write_thunk(text, function->type, symbol, function->symbol);
        has_thunk[module->table[i]] = true;
      }
    }
    append(&entries, "    {(void (*)(void))%s, %uu},\n", symbol, function->type->id + 1);
  }
  append(text, "static const struct wasm3_entry %s_table[] = {\n%s};\n", name,
         entries.chars ? entries.chars : "    {0, 0},\n");
}

/* Generated code has labels nobody jumps to, variables and parameters nobody reads, and compares a thing with itself or
 * an unsigned with zero wherever the source does; none of it is a mistake there. */
static void write_pragmas(struct Text *text) {
  static const char *const quiet[] = {
      "unused-label", "unused-variable", "unused-const-variable", "unused-but-set-variable", "unused-parameter",
      "unused-but-set-parameter", "unused-function", "type-limits", "tautological-compare",
  };
  for (u32 i = 0; i < sizeof quiet / sizeof *quiet; i++)
    append(text, "#pragma GCC diagnostic ignored \"-W%s\"\n", quiet[i]);
}

void write_module(struct Writer *writer, const struct Module *module, const char *name, const char **includes,
                  u32 include_count) {
  struct Text *text = &writer->text;
  append(text, "/* Written by wasm3-build from %s; do not edit. */\n", module->path);
  append(text, "#include \"wasm3-runtime.h\"\n");
  for (u32 i = 0; i < include_count; i++) append(text, "#include \"%s\"\n", includes[i]);
  write_pragmas(text);
  for (u32 i = module->import_count; i < module->function_count; i++)
    if (module->functions[i].variable_count) {
      append(text, "\n/* Of the sources' variables: define it as volatile to see them wherever they are. */\n");
      append(text, "#ifndef WASM3_LOCAL\n#define WASM3_LOCAL\n#endif\n");
      break;
    }
  append(text, "\n#ifndef WASM3_TRAP\n#define WASM3_TRAP(kind) wasm3_trap(kind)\n#endif\n#define WASM3_PAGES %uu\n\n",
         module->pages);
  write_segments(text, module, name);
  write_prototypes(text, module);
  write_second_exports(text, module);
  write_table_entries(text, module, name);
  for (u32 i = module->import_count; i < module->function_count; i++)
    write_function(writer, module, &module->functions[i], name);
}
