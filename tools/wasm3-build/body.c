/* Looks through a function's locals and instructions for what is refused, before wasm3 sees them: some of it wasm3
 * would compile, and wrongly. WebAssembly Core Specification 2.0, 5.4, "Instructions". */
#include "reader.h"

#include <string.h>

#define UNKNOWN "an unknown operation"

/* Opcodes that are refused; those of two bytes as 0xfcNN. All that are not here are translated. */
static const struct {
  u32 first, last;
  const char *name;
} refused[] = {
    {0x06, 0x0a, "exception handling"}, /* 0x0a: throw_ref */
    {0x12, 0x13, "a tail call"},
    {0x14, 0x15, "a call by reference"},
    {0x16, 0x17, UNKNOWN},
    {0x18, 0x19, "exception handling"},
    {0x1c, 0x1c, "select with a type"},
    {0x1d, 0x1e, UNKNOWN},
    {0x1f, 0x1f, "exception handling"},
    {0x25, 0x26, "a table access"},
    {0x27, 0x27, UNKNOWN},
    {0x2a, 0x2b, "a float load"},
    {0x38, 0x39, "a float store"},
    {0x43, 0x44, "a float constant"},
    {0x5b, 0x66, "a float comparison"},
    {0x8b, 0xa6, "float arithmetic"},
    {0xa8, 0xab, "a float conversion"},
    {0xae, 0xbf, "a float conversion"},
    {0xc5, 0xcf, UNKNOWN},
    {0xd0, 0xd6, "a reference type"},
    {0xd7, 0xfa, UNKNOWN},
    {0xfb, 0xfb, "garbage collection"},
    {0xfd, 0xfd, "SIMD"},
    {0xfe, 0xfe, "an atomic operation"},
    {0xff, 0xff, UNKNOWN},
    {0xfc00, 0xfc07, "a float conversion"},
    {0xfc08, 0xfc09, "a passive data segment"},
    {0xfc0c, 0xfc11, "a table operation"},
    {0xfc12, NONE, UNKNOWN},
};

static const char *find_refusal(u32 opcode) {
  for (u32 i = 0; i < sizeof refused / sizeof *refused; i++)
    if (opcode >= refused[i].first && opcode <= refused[i].last) return refused[i].name;
  return NULL;
}

/* wasm3 0.5.0 miscompiles loops, and now and then blocks, that take parameters. */
static bool has_parameters(const struct Module *module, struct Reader *reader) {
  int64_t type = read_leb(reader, true); /* negative: a result at most; else the number of a function type */
  if (type >= module->type_count) malformed(reader);
  return type >= 0 && *module->types[type].parameters;
}

/* Every immediate of what is not refused is a LEB128 number; signs do not matter to who skips them. Returns the first. */
static u32 skip_immediates(struct Reader *reader, u32 opcode) {
  u32 count = 0;
  switch (opcode) {
  case 0x0e: count = read_count(reader) + 1; break; /* br_table: targets and default */
  case 0x11:                                        /* call_indirect: type, table */
  case 0x28 ... 0x3e:                               /* loads and stores: alignment, offset */
  case 0xfc0a: count = 2; break;                    /* memory.copy: memories */
  case 0x0c ... 0x0d:                               /* br, br_if */
  case 0x10:                                        /* call */
  case 0x20 ... 0x24:                               /* locals and globals */
  case 0x3f ... 0x42:                               /* memory.size, memory.grow, constants */
  case 0xfc0b: count = 1; break;                    /* memory.fill: memory */
  }
  u32 first = 0;
  for (u32 i = 0; i < count; i++) {
    const u32 value = (u32)read_leb(reader, true);
    if (!i) first = value;
  }
  return first;
}

static u32 read_opcode(struct Reader *reader) {
  const u32 opcode = read_byte(reader);
  if (opcode != 0xfc) return opcode;
  const u32 second = read_u32(reader);
  return second <= 0xff ? opcode << 8 | second : NONE;
}

/* Notes the first call of an import, for a message about it. */
static void note_call(struct Module *module, const struct Function *caller, u32 offset, struct Reader at_callee) {
  const u32 callee = read_u32(&at_callee);
  if (callee >= module->function_count) malformed(&at_callee);
  struct Function *import = &module->functions[callee];
  if (!import->import_module || import->caller != NONE) return;
  import->caller = (u32)(caller - module->functions);
  import->call_offset = offset;
}

static void check_instructions(struct Module *module, const struct Function *function, struct Reader *reader) {
  while (reader->at < reader->end) {
    const u32 offset = (u32)(reader->at - module->bytes);
    const u32 opcode = read_opcode(reader);
    const char *name = find_refusal(opcode);
    if (opcode >= 0x02 && opcode <= 0x04) {
      if (has_parameters(module, reader))
        name = opcode == 0x03 ? "a loop with parameters" : "a block with parameters";
    } else if (!name) {
      if (opcode == 0x10) note_call(module, function, offset, *reader);
      skip_immediates(reader, opcode);
    }
    if (!name) continue;
    refuse(module, function, offset, "%s (opcode 0x%02x) is not supported", name, opcode);
    return; /* what follows cannot be read without knowing it */
  }
}

void walk_body(const struct Module *module, const struct Function *function,
               void (*see)(void *context, u32 offset, u32 opcode, u32 immediate), void *context) {
  struct Reader reader = {module->path, "code", function->body, function->body_end};
  for (u32 runs = read_count(&reader); runs; runs--) {
    read_u32(&reader);
    read_type(&reader);
  }
  while (reader.at < reader.end) {
    const u32 offset = (u32)(reader.at - module->bytes);
    const u32 opcode = read_opcode(&reader);
    if (opcode >= 0x02 && opcode <= 0x04) read_leb(&reader, true); /* the type of a block */
    const u32 immediate = skip_immediates(&reader, opcode);
    see(context, offset, opcode, immediate);
  }
}

void check_body(struct Module *module, struct Function *function) {
  struct Reader reader = {module->path, "code", function->body, function->body_end};
  u64 total = 0;
  bool others = false;
  function->local_types = allocate(MAX_STACK_HEIGHT + 1);
  for (u32 runs = read_count(&reader); runs; runs--) {
    const u32 run = read_u32(&reader);
    const char type = read_type(&reader);
    for (u64 i = total; i < total + run && i < MAX_STACK_HEIGHT; i++) function->local_types[i] = type;
    total += run;
    others |= type == 'f';
  }
  if (others) refuse(module, function, NONE, "a local is neither i32 nor i64; use integers");
  if (total > MAX_STACK_HEIGHT)
    refuse(module, function, NONE, "%llu locals; expected at most %u", (unsigned long long)total, MAX_STACK_HEIGHT);
  function->local_count = (u32)total;
  check_instructions(module, function, &reader);
}
