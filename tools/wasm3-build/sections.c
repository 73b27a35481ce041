/* Reads a wasm module's sections, all but the instructions, which are wasm3's business.
 *
 * wasm3 reads them too, but it skips tables, drops names that an export precedes, and takes passive segments for
 * active ones. So this file reads first, and refuses what wasm3 would misread. WebAssembly Core Specification 2.0,
 * chapter 5, "Binary Format". */
#include "reader.h"

#include <string.h>

static const char *const section_names[] = {"custom", "type",  "import",  "function", "table", "memory",    "global",
                                            "export", "start", "element", "code",     "data",  "data count"};

static const char *read_types(struct Reader *reader) {
  struct Text text = {0};
  append(&text, "%s", "");
  for (u32 count = read_count(reader); count; count--) append(&text, "%c", read_type(reader));
  return text.chars;
}

/* A constant expression. False if it is anything but one i32.const. */
static bool read_i32_constant(struct Reader *reader, u32 *value) {
  if (read_byte(reader) != 0x41) return false;
  *value = (u32)read_leb(reader, true);
  return read_byte(reader) == 0x0b;
}

static void skip_constant(struct Reader *reader) {
  while (read_byte(reader) != 0x0b) switch (reader->at[-1]) {
    case 0x23: read_u32(reader); break; /* global.get */
    case 0x41:
    case 0x42: read_leb(reader, true); break; /* i32.const, i64.const */
    case 0x43: read_bytes(reader, 4); break;  /* f32.const */
    case 0x44: read_bytes(reader, 8); break;  /* f64.const */
    default: die("%s: a global is initialised by opcode 0x%02x: expected a constant", reader->path, reader->at[-1]);
    }
}

static void read_type_section(struct Module *module, struct Reader *reader) {
  module->type_count = read_count(reader);
  module->types = allocate(module->type_count * sizeof *module->types);
  for (u32 i = 0; i < module->type_count; i++) {
    struct Type *type = &module->types[i];
    if (read_byte(reader) != 0x60) refuse_module(module, "type %u is no function type: expected no GC proposal", i);
    type->parameters = read_types(reader);
    type->results = read_types(reader);
    for (type->id = 0; type->id < i; type->id++)
      if (!strcmp(module->types[type->id].parameters, type->parameters) &&
          !strcmp(module->types[type->id].results, type->results))
        break;
  }
}

static struct Function *add_function(struct Module *module, struct Reader *reader) {
  u32 type = read_u32(reader);
  if (type >= module->type_count) malformed(reader);
  module->functions = grow(module->functions, module->function_count, sizeof *module->functions);
  struct Function *function = &module->functions[module->function_count++];
  function->type = &module->types[type];
  function->prefix = "";
  function->caller = function->call_offset = function->deepest = NONE;
  return function;
}

static void read_memory(struct Module *module, struct Reader *reader) {
  u8 flags = read_byte(reader);
  module->pages = read_u32(reader);
  u32 maximum = flags & 1 ? read_u32(reader) : NONE;
  if (flags & 2) refuse(module, NULL, NONE, "memory is shared; threads are refused (asc without --sharedMemory)");
  if (flags & ~3)
    refuse(module, NULL, NONE, "memory has flags 0x%x; expected a 32-bit memory of 64 KiB pages", flags);
  if (maximum != module->pages)
    refuse(module, NULL, NONE,
           "memory of %u pages may grow%s; expected a fixed size (asc --initialMemory %u --maximumMemory %u)",
           module->pages, maximum == NONE ? " without limit" : format(" to %u", maximum), module->pages,
           module->pages);
  if (module->pages > 65536) malformed(reader);
}

static void read_import_section(struct Module *module, struct Reader *reader) {
  for (u32 count = read_count(reader); count; count--) {
    const char *from = read_name(reader), *field = read_name(reader);
    u8 kind = read_byte(reader);
    if (kind == 0) {
      struct Function *function = add_function(module, reader);
      function->import_module = from;
      function->import_field = field;
      module->import_count++;
      continue;
    }
    /* wasm3 would lose count of these, and an instance has its own memory and table anyway. */
    static const char *const kinds[] = {"function", "table", "memory", "global", "tag"};
    refuse_module(module, "imports %s %s.%s; expected imports of functions only%s", kind <= 4 ? kinds[kind] : "thing",
                  from, field,
                  kind == 2   ? " (asc without --importMemory)"
                  : kind == 1 ? " (asc without --importTable)"
                              : "");
  }
}

static void read_table_section(struct Module *module, struct Reader *reader) {
  u32 count = read_count(reader);
  if (!count) return;
  if (count > 1) refuse_module(module, "has %u tables; expected at most one", count);
  if (read_byte(reader) != 0x70) refuse_module(module, "its table is not of functions; expected funcref");
  u8 flags = read_byte(reader);
  module->table_size = read_u32(reader);
  if (flags & 1) read_u32(reader); /* table.grow is refused, so the maximum means nothing */
  if (module->table_size > 1 << 20)
    refuse_module(module, "table of %u entries; expected at most %u", module->table_size, 1 << 20);
  module->table = allocate(module->table_size * sizeof *module->table);
  for (u32 i = 0; i < module->table_size; i++) module->table[i] = NONE;
}

static void read_element_section(struct Module *module, struct Reader *reader) {
  u32 count = read_count(reader);
  for (u32 i = 0; i < count; i++) {
    u32 start, flags = read_u32(reader);
    if (flags)
      refuse_module(module, "element segment %u is passive, declarative or not plain (flags %u); expected active ones", i,
                    flags);
    if (!read_i32_constant(reader, &start))
      refuse_module(module, "element segment %u: expected an i32.const as its offset", i);
    u32 length = read_count(reader);
    if ((u64)start + length > module->table_size)
      refuse_module(module, "element segment %u: entries %u to %llu of a table of %u", i, start,
                    (unsigned long long)start + length, module->table_size);
    for (u32 j = start; j < start + length; j++)
      if ((module->table[j] = read_u32(reader)) >= module->function_count) malformed(reader);
  }
}

static void read_global_section(struct Module *module, struct Reader *reader) {
  module->global_count = read_count(reader);
  module->globals = allocate(module->global_count * sizeof *module->globals);
  for (u32 i = 0; i < module->global_count; i++) {
    module->globals[i].name = format("global[%u]", i);
    module->globals[i].type = read_type(reader);
    module->globals[i].mutable = read_byte(reader);
    skip_constant(reader);
  }
}

static void read_export_section(struct Module *module, struct Reader *reader) {
  module->export_count = read_count(reader);
  module->exports = allocate(module->export_count * sizeof *module->exports);
  for (u32 i = 0; i < module->export_count; i++) {
    struct Export *export = &module->exports[i];
    export->name = read_name(reader);
    export->kind = read_byte(reader);
    export->index = read_u32(reader);
    if (export->kind == 0) {
      if (export->index >= module->function_count) malformed(reader);
      module->functions[export->index].exported = true;
    }
  }
}

static void read_code_section(struct Module *module, struct Reader *reader) {
  if (read_count(reader) != module->function_count - module->import_count) malformed(reader);
  for (u32 i = module->import_count; i < module->function_count; i++) {
    struct Function *function = &module->functions[i];
    u32 size = read_u32(reader);
    function->body = read_bytes(reader, size);
    function->body_end = function->body + size;
  }
}

static void read_data_section(struct Module *module, struct Reader *reader) {
  module->segment_count = read_count(reader);
  module->segments = allocate(module->segment_count * sizeof *module->segments);
  for (u32 i = 0; i < module->segment_count; i++) {
    struct Segment *segment = &module->segments[i];
    u32 flags = read_u32(reader);
    if (flags)
      refuse_module(module, "data segment %u is passive or of another memory (flags %u); expected active ones", i, flags);
    if (!read_i32_constant(reader, &segment->offset))
      refuse_module(module, "data segment %u: expected an i32.const as its offset", i);
    segment->length = read_u32(reader);
    segment->bytes = read_bytes(reader, segment->length);
    if ((u64)segment->offset + segment->length > (u64)module->pages << 16)
      refuse_module(module, "data segment %u ends at %llu; expected at most the memory's %llu bytes (asc --initialMemory)", i,
                    (unsigned long long)segment->offset + segment->length, (unsigned long long)module->pages << 16);
  }
}

/* The name section: subsection 1 names functions, 7 globals. */
static void read_name_section(struct Module *module, struct Reader *reader) {
  while (reader->at < reader->end) {
    u8 id = read_byte(reader);
    u32 size = read_u32(reader);
    struct Reader names = {reader->path, "name", read_bytes(reader, size), NULL};
    names.end = reader->at;
    if (id != 1 && id != 7) continue;
    for (u32 count = read_count(&names); count; count--) {
      u32 index = read_u32(&names);
      const char *name = read_name(&names);
      if (id == 1 && index < module->function_count) module->functions[index].name = name;
      if (id == 7 && index < module->global_count) module->globals[index].name = name;
    }
  }
}

/* Functions without a name are called by import, by export, or by number. */
static void complete_names(struct Module *module) {
  for (u32 i = 0; i < module->export_count; i++) {
    const struct Export *export = &module->exports[i];
    if (export->kind == 0 && !module->functions[export->index].name)
      module->functions[export->index].name = export->name;
  }
  for (u32 i = 0; i < module->function_count; i++) {
    struct Function *function = &module->functions[i];
    if (function->import_module) function->name = format("%s.%s", function->import_module, function->import_field);
    if (!function->name) function->name = format("function[%u]", i);
  }
}

static void check_types(struct Module *module) {
  for (u32 i = 0; i < module->global_count; i++)
    if (module->globals[i].type == 'f')
      refuse(module, NULL, NONE, "global %s is neither i32 nor i64; use integers", module->globals[i].name);
  for (u32 i = 0; i < module->function_count; i++) {
    struct Function *function = &module->functions[i];
    if (function->body) check_body(module, function);
    if (strchr(function->type->parameters, 'f') || strchr(function->type->results, 'f'))
      refuse(module, function, NONE, "a parameter or result is neither i32 nor i64; use integers");
    if (strlen(function->type->results) > 1)
      refuse(module, function, NONE, "returns %zu values; expected at most one", strlen(function->type->results));
  }
}

void read_sections(struct Module *module) {
  static void (*const readers[13])(struct Module *, struct Reader *) = {
      [1] = read_type_section,   [2] = read_import_section,  [4] = read_table_section, [6] = read_global_section,
      [7] = read_export_section, [9] = read_element_section, [10] = read_code_section, [11] = read_data_section,
  };
  struct Reader all = {module->path, "first", module->bytes, module->bytes + module->size};
  if (module->size < 8 || memcmp(module->bytes, "\0asm\1\0\0\0", 8))
    die("%s: expected a WebAssembly module of version 1", module->path);
  all.at += 8;
  module->start_function = NONE;
  while (all.at < all.end) {
    u8 id = read_byte(&all);
    if (id > 12)
      refuse_module(module, "section %u is unknown; expected no exception handling or later proposals", id);
    u32 size = read_u32(&all);
    struct Reader section = {module->path, section_names[id], read_bytes(&all, size), NULL};
    section.end = all.at;
    if (id == 0) {
      if (!strcmp(read_name(&section), "name")) read_name_section(module, &section);
    } else if (id == 3) {
      for (u32 count = read_count(&section); count; count--) add_function(module, &section);
    } else if (id == 5) {
      u32 count = read_count(&section);
      if (count > 1) refuse_module(module, "has %u memories; expected at most one", count);
      if (count) read_memory(module, &section);
    } else if (id == 8) {
      module->start_function = read_u32(&section);
      if (module->start_function >= module->function_count) malformed(&section);
    } else if (readers[id]) {
      readers[id](module, &section);
    }
  }
  if (module->function_count > module->import_count && !module->functions[module->function_count - 1].body)
    die("%s: functions without a code section: expected a valid WebAssembly module", module->path);
  complete_names(module);
  check_types(module);
}
