/* wasm3 as a front end: it compiles each function into its own operations, and this file decodes those.
 *
 * m3_compile.c is included, not linked, because its operations are static functions: here their addresses have names.
 * The operations are never run. wasm3 patches branch targets while it compiles, so the walk starts when a function is
 * complete. */
#include "m3_compile.c"

#include "wasm3-build.h"
#include "operations.h"

struct Operation operations[] = {
#define PLAIN_ROW(name, words, operand, result, flow, statement) \
  {(const void *)op_##name, #name, words, operand, result, flow, statement, PLAIN, 0},
#define SPECIAL_ROW(name, kind) {(const void *)op_##name, #name, "", 'w', 'w', NEXT, "", kind, 0},
    OPERATIONS(PLAIN_ROW) SPECIAL_OPERATIONS(SPECIAL_ROW)};
const u32 operation_count = sizeof operations / sizeof *operations;

/* Sorted by address, to find an operation by it. */
static struct Operation *by_address[sizeof operations / sizeof *operations];

static int compare_addresses(const void *a, const void *b) {
  const char *x = (*(struct Operation *const *)a)->address, *y = (*(struct Operation *const *)b)->address;
  return (x > y) - (x < y);
}

/* Had the compiler folded two equal operations into one, the table would be ambiguous: the Makefile forbids it, and
 * this makes sure. */
static void index_operations(void) {
  for (u32 i = 0; i < operation_count; i++) by_address[i] = &operations[i];
  qsort(by_address, operation_count, sizeof *by_address, compare_addresses);
  for (u32 i = 1; i < operation_count; i++)
    if (by_address[i - 1]->address == by_address[i]->address)
      die("operations %s and %s have one address; wasm3-build must be compiled with -fno-ipa-icf",
          by_address[i - 1]->name, by_address[i]->name);
}

static struct Operation *find_operation(const void *address) {
  const struct Operation key = {.address = address}, *key_pointer = &key;
  struct Operation **found =
      bsearch(&key_pointer, by_address, operation_count, sizeof *by_address, compare_addresses);
  return found ? *found : NULL;
}

static void refuse_compilation(struct Module *module, const struct Function *function, M3Result error,
                               IM3Compilation state) {
  u32 offset = state->lastOpcodeStart ? (u32)(state->lastOpcodeStart - module->bytes) : NONE;
  if (error == m3Err_functionStackOverflow)
    refuse(module, function, offset, "needs a stack of more than %u values; split the function", MAX_STACK_HEIGHT);
  else if (!strcmp(error, "slot usage count overflow"))
    refuse(module, function, offset, "one local is on the stack more than 255 times; split the expression");
  else refuse(module, function, offset, "wasm3 cannot compile it: %s", error);
}

/* wasm3 does not check each push against its limit, but every push leaves its type behind. */
static u32 stack_height(IM3Compilation state) {
  u32 height = d_m3MaxFunctionStackHeight;
  while (height && !state->typeStack[height - 1]) height--;
  return height;
}

/* ---- the walk ---- */

struct Walk {
  struct Module *module;
  struct Function *function;
  IM3Runtime runtime;
  IM3Module m3;
  pc_t *pcs;    /* of each instruction of function->code */
  u32 *buckets; /* hash table of instruction numbers by pc */
  u32 bucket_count;
  pc_t *pending; /* branch targets still to be walked */
  u32 pending_count;
};

static u32 *find_bucket(const struct Walk *walk, pc_t pc) {
  u32 i = (u32)(((uintptr_t)pc >> 3) * 0x9e3779b1u) & (walk->bucket_count - 1);
  while (walk->buckets[i] != NONE && walk->pcs[walk->buckets[i]] != pc) i = (i + 1) & (walk->bucket_count - 1);
  return &walk->buckets[i];
}

/* The instruction number at a pc, NONE if it has not been walked. */
static u32 find_instruction(const struct Walk *walk, pc_t pc) {
  return walk->bucket_count ? *find_bucket(walk, pc) : NONE;
}

static u32 add_instruction(struct Walk *walk, pc_t pc) {
  struct Function *function = walk->function;
  function->code = grow(function->code, function->code_count, sizeof *function->code);
  walk->pcs = grow(walk->pcs, function->code_count, sizeof *walk->pcs);
  walk->pcs[function->code_count] = pc;
  u32 added = function->code_count++;
  if (2 * function->code_count > walk->bucket_count) {
    walk->bucket_count = walk->bucket_count ? 2 * walk->bucket_count : 64;
    walk->buckets = allocate(walk->bucket_count * sizeof *walk->buckets);
    memset(walk->buckets, 0xff, walk->bucket_count * sizeof *walk->buckets);
    for (u32 i = 0; i < added; i++) *find_bucket(walk, walk->pcs[i]) = i;
  }
  *find_bucket(walk, pc) = added;
  return added;
}

/* Goes through plain branches, so that a target is always an operation that does something. */
static pc_t follow_branches(pc_t pc) {
  for (; *pc == (void *)op_Branch; pc = pc[1]) find_operation(*pc)->uses++;
  return pc;
}

/* Branch targets are pcs until the whole function has been walked. */
static u64 add_target(struct Walk *walk, pc_t pc) {
  pc = follow_branches(pc);
  walk->pending = grow(walk->pending, walk->pending_count, sizeof *walk->pending);
  walk->pending[walk->pending_count++] = pc;
  return (u64)(uintptr_t)pc;
}

/* Offset in the module's bytes of the wasm instruction that an operation came from. */
static u32 find_offset(IM3Runtime runtime, pc_t pc) {
  IM3CodePage lists[] = {runtime->pagesOpen, runtime->pagesFull};
  for (u32 i = 0; i < 2; i++)
    for (IM3CodePage page = lists[i]; page; page = page->info.next) {
      u32 offset;
      if (ContainsPC(page, pc)) return MapPCToOffset(page, pc, &offset) ? offset : NONE;
    }
  return NONE;
}

static u32 word32(pc_t pc) {
  u32 word;
  memcpy(&word, pc, sizeof word);
  return word;
}

static u32 function_at(const struct Walk *walk, const void *entry) {
  for (u32 i = 0; i < walk->module->function_count; i++)
    if (walk->m3->functions[i].compiled == entry) return i;
  die("%s: wasm3 calls an entry that no function has", walk->module->path);
}

static u32 type_at(const struct Walk *walk, IM3FuncType type) {
  for (u32 i = 0; i < walk->m3->numFuncTypes; i++)
    if (walk->m3->funcTypes[i] == type) return walk->module->types[i].id;
  die("%s: wasm3 calls a type that the module does not have", walk->module->path);
}

static u32 global_at(const struct Walk *walk, const void *value) {
  for (u32 i = 0; i < walk->m3->numGlobals; i++)
    if (&walk->m3->globals[i].i64Value == value) return i;
  die("%s: wasm3 accesses a global that the module does not have", walk->module->path);
}

static void decode_row(struct Walk *walk, struct Instruction *instruction, pc_t at) {
  const struct Operation *operation = instruction->operation;
  for (u32 i = 0; operation->words[i]; i++, at++) switch (operation->words[i]) {
    case 't': instruction->words[i] = add_target(walk, *at); break;
    case 'g': instruction->words[i] = global_at(walk, *at); break;
    case 'i': memcpy(&instruction->words[i], at, operation->result == 'w' ? 4 : 8); break;
    default: instruction->words[i] = word32(at);
    }
}

static void decode_special(struct Walk *walk, struct Instruction *instruction, pc_t at) {
  switch (instruction->operation->kind) {
  case TABLE:
    instruction->words[0] = word32(at);
    instruction->target_count = word32(at + 1) + 1;
    instruction->targets = allocate(instruction->target_count * sizeof *instruction->targets);
    for (u32 i = 0; i < instruction->target_count; i++) instruction->targets[i] = add_target(walk, at[2 + i]);
    break;
  case CALL:
    instruction->callee = function_at(walk, at[0]);
    instruction->frame = word32(at + 1);
    break;
  case CALL_LATER:
    instruction->callee = (u32)((IM3Function)at[0] - walk->m3->functions);
    instruction->frame = word32(at + 1);
    break;
  case CALL_INDIRECT:
    instruction->words[0] = word32(at);
    instruction->callee = type_at(walk, at[2]);
    instruction->frame = word32(at + 3);
    break;
  default: break;
  }
}

/* Words that an operation takes in the code page, when execution goes on behind it. */
static u32 count_words(const struct Operation *operation) {
  switch (operation->kind) {
  case PLAIN: return (u32)strlen(operation->words);
  case ENTRY: return 1;
  case CALL:
  case CALL_LATER: return 2;
  case CALL_INDIRECT: return 4;
  default: return 0;
  }
}

/* Walks from one pc until execution ends or comes to what has been walked before. */
static void walk_from(struct Walk *walk, pc_t pc) {
  struct Function *function = walk->function;
  u32 previous = NONE;
  for (;;) {
    pc = follow_branches(pc);
    u32 known = find_instruction(walk, pc);
    if (known != NONE) {
      if (previous != NONE) function->code[previous].then = known;
      return;
    }
    u32 offset = find_offset(walk->runtime, pc);
    struct Operation *operation = find_operation(*pc);
    if (!operation) {
      refuse(walk->module, function, offset,
             "wasm3 makes an operation of opcode 0x%02x that operations.h does not have",
             offset == NONE ? 0 : walk->module->bytes[offset]);
      return;
    }
    previous = add_instruction(walk, pc);
    struct Instruction *instruction = &function->code[previous];
    /* Entry has no wasm instruction; what wasm3 notes for it is where the compilation before it stopped. */
    *instruction = (struct Instruction){.operation = operation,
                                        .wasm_offset = operation->kind == ENTRY ? NONE : offset,
                                        .then = NONE};
    operation->uses++;
    if (operation->kind == PLAIN) decode_row(walk, instruction, pc + 1);
    else decode_special(walk, instruction, pc + 1);
    if (operation->flow == STOP || operation->kind == TABLE || operation->kind == RETURN) return;
    pc += 1 + count_words(operation);
  }
}

/* Turns branch targets from pcs into instruction numbers. */
static void finish_targets(struct Walk *walk) {
  struct Function *function = walk->function;
  for (u32 i = 0; i < function->code_count; i++) {
    struct Instruction *instruction = &function->code[i];
    const char *letter = strchr(instruction->operation->words, 't');
    u64 *targets = letter ? &instruction->words[letter - instruction->operation->words] : instruction->targets;
    for (u32 j = 0; j < (letter ? 1 : instruction->target_count); j++) {
      targets[j] = find_instruction(walk, (pc_t)(uintptr_t)targets[j]);
      if (targets[j] != NONE) function->code[targets[j]].labelled = true; /* NONE: it was refused */
    }
    if (instruction->then != NONE) function->code[instruction->then].labelled = true;
  }
}

static void walk_function(struct Module *module, IM3Runtime runtime, IM3Module m3, u32 number) {
  struct Function *function = &module->functions[number];
  IM3Function compiled = &m3->functions[number];
  function->constant_first = compiled->numRetAndArgSlots + compiled->numLocals;
  function->constant_count = compiled->numConstantBytes / sizeof(m3slot_t);
  function->constants = compiled->constants;

  struct Walk walk = {.module = module, .function = function, .runtime = runtime, .m3 = m3};
  add_target(&walk, compiled->compiled);
  while (walk.pending_count) walk_from(&walk, (pc_t)walk.pending[--walk.pending_count]);
  finish_targets(&walk);
}

static void must(struct Module *module, IM3Runtime runtime, M3Result error) {
  if (error) die("%s: wasm3 cannot read it: %s %s", module->path, error, runtime ? runtime->error.message : "");
}

/* What imports are linked to while they compile. Nothing is ever run. */
static const void *never_called(IM3Runtime runtime, IM3ImportContext context, u64 *stack, void *memory) {
  (void)runtime, (void)context, (void)stack, (void)memory;
  die("an import was called while compiling");
}

void compile_functions(struct Module *module) {
  index_operations();
  IM3Environment environment = m3_NewEnvironment();
  IM3Runtime runtime = environment ? m3_NewRuntime(environment, 65536, NULL) : NULL;
  if (!runtime) die("wasm3 is out of memory");
  IM3Module m3;
  must(module, NULL, m3_ParseModule(environment, &m3, module->bytes, (u32)module->size));

  /* Instances are not wasm3's business: it needs no memory and no table to compile. */
  m3->memoryInfo.initPages = 0;
  m3->numDataSegments = 0;
  m3->numElementSegments = 0;
  must(module, runtime, m3_LoadModule(runtime, m3));

  for (u32 i = 0; i < module->global_count; i++) module->globals[i].value = (u64)m3->globals[i].i64Value;
  for (u32 i = 0; i < module->import_count; i++)
    must(module, runtime, CompileRawFunction(m3, &m3->functions[i], (const void *)never_called, NULL));
  for (u32 i = module->import_count; i < module->function_count; i++) {
    M3Result error = CompileFunction(&m3->functions[i]);
    if (error) refuse_compilation(module, &module->functions[i], error, &runtime->compilation);
    else if (stack_height(&runtime->compilation) > MAX_STACK_HEIGHT)
      refuse_compilation(module, &module->functions[i], m3Err_functionStackOverflow, &runtime->compilation);
  }
  if (module->refusal_count) return;
  for (u32 i = module->import_count; i < module->function_count; i++) walk_function(module, runtime, m3, i);
}
