/* What a module must be, beyond what can be translated, to be part of the hypervisor. */
#include "wasm3-build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void refuse(struct Module *module, const struct Function *function, u32 wasm_offset, const char *format, ...) {
  const char *file;
  u32 line;
  struct Text text = {0};
  if (function) {
    append(&text, "%s", function->name);
    if (find_place(module, function, wasm_offset, true, &file, &line) ||
        find_place(module, function, wasm_offset, false, &file, &line))
      append(&text, " (%s:%u)", file, line);
    append(&text, ": ");
  }
  va_list arguments;
  va_start(arguments, format);
  append_arguments(&text, format, arguments);
  va_end(arguments);
  fprintf(stderr, "wasm3-build: %s: %s\n", module->path, text.chars);
  module->refusals = grow(module->refusals, module->refusal_count, sizeof *module->refusals);
  module->refusals[module->refusal_count++] = text.chars;
}

void refuse_module(struct Module *module, const char *format, ...) {
  struct Text text = {0};
  va_list arguments;
  va_start(arguments, format);
  append_arguments(&text, format, arguments);
  va_end(arguments);
  refuse(module, NULL, NONE, "%s", text.chars);
  finish(module);
}

/* ---- imports ---- */

struct AllowList {
  const char *path;
  char **entries; /* "module" or "module.function" */
  u32 count;
};

/* One entry a line; a # and what follows it mean nothing. */
static struct AllowList read_allow_list(const char *path) {
  struct AllowList list = {.path = path};
  size_t size;
  char *text = (char *)read_file(path, &size);
  u32 number = 0;
  for (char *line; (line = strsep(&text, "\n"));) {
    number++;
    line[strcspn(line, "#\r")] = 0;
    line += strspn(line, " \t");
    char *rest = line + strcspn(line, " \t");
    if (rest[strspn(rest, " \t")])
      die("%s:%u: expected one module or module.function a line, or a # and a comment", path, number);
    *rest = 0;
    if (!*line) continue;
    list.entries = grow(list.entries, list.count, sizeof *list.entries);
    list.entries[list.count++] = line;
  }
  return list;
}

static bool is_allowed(const struct AllowList *list, const struct Function *import) {
  for (u32 i = 0; i < list->count; i++)
    if (!strcmp(list->entries[i], import->import_module) || !strcmp(list->entries[i], import->name)) return true;
  return false;
}

void check_imports(struct Module *module, const char *path) {
  const struct AllowList list = read_allow_list(path);
  for (u32 i = 0; i < module->import_count; i++) {
    const struct Function *import = &module->functions[i];
    if (is_allowed(&list, import)) continue;
    const struct Function *caller = import->caller == NONE ? NULL : &module->functions[import->caller];
    refuse(module, caller, import->call_offset, "imports %s, which %s does not list", import->name, path);
  }
}

static bool is_listed(const char *list, const char *word) {
  size_t length = strlen(word);
  for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
    if (!strncmp(p, word, length) && (p[length] == ',' || !p[length])) return true;
  return false;
}

/* Marks functions for the C compiler; names that the module does not have any more mean nothing. */
void keep_out_of_line(struct Module *module, const char *names) {
  for (u32 i = module->import_count; i < module->function_count; i++)
    module->functions[i].out_of_line = is_listed(names, module->functions[i].name);
}

/* ---- the call graph ---- */

static bool is_call(const struct Instruction *instruction) {
  return instruction->operation->kind == CALL || instruction->operation->kind == CALL_LATER;
}

/* Calls `visit` for each function that an instruction may call; an indirect call may reach each table entry of its
 * type. Stops when `visit` returns true, and returns that. */
static bool for_each_callee(const struct Module *module, const struct Instruction *instruction,
                            bool (*visit)(void *context, u32 callee), void *context) {
  if (is_call(instruction)) return visit(context, instruction->callee);
  if (instruction->operation->kind != CALL_INDIRECT) return false;
  for (u32 i = 0; i < module->table_size; i++)
    if (module->table[i] != NONE && module->functions[module->table[i]].type->id == instruction->callee &&
        visit(context, module->table[i]))
      return true;
  return false;
}

struct Search {
  struct Module *module;
  u32 *path;    /* the functions being visited, outermost first */
  u32 *offsets; /* where each of them calls the next */
  u32 depth;
  enum { UNSEEN, OPEN, DONE } * states;
  char **cycles;      /* by function: the first cycle found through it, and one is enough */
  u32 *cycle_offsets; /* where it makes the call */
};

/* What a call of `callee` adds to the stack beyond its caller. */
static void measure_call(struct Module *module, struct Function *caller, u32 callee) {
  const struct Function *function = &module->functions[callee];
  if (!function->body) return;
  if (caller->deepest == NONE || function->call_depth > module->functions[caller->deepest].call_depth)
    caller->deepest = callee;
  if (function->path_slots > caller->callee_slots) caller->callee_slots = function->path_slots;
}

static bool visit_callee(void *context, u32 number);

static void visit(struct Search *search, u32 number) {
  struct Module *module = search->module;
  struct Function *function = &module->functions[number];
  search->states[number] = OPEN;
  search->path[search->depth++] = number;
  for (u32 i = 0; i < function->code_count; i++) {
    search->offsets[search->depth - 1] = function->code[i].wasm_offset;
    for_each_callee(module, &function->code[i], visit_callee, search);
  }
  search->depth--;
  search->states[number] = DONE;
  if (!function->body) return;
  function->call_depth = 1 + (function->deepest == NONE ? 0 : module->functions[function->deepest].call_depth);
  function->path_slots = function->slot_count + function->callee_slots;
}

static void note_cycle(struct Search *search, u32 number) {
  if (search->cycles[number]) return;
  struct Module *module = search->module;
  u32 first = search->depth;
  while (search->path[--first] != number) {}
  search->cycle_offsets[number] = search->offsets[first];
  struct Text cycle = {0};
  for (u32 i = first; i < search->depth; i++) append(&cycle, "%s -> ", module->functions[search->path[i]].name);
  append(&cycle, "%s", module->functions[number].name);
  search->cycles[number] = cycle.chars;
  if (!module->cycle) module->cycle = cycle.chars;
}

static bool visit_callee(void *context, u32 number) {
  struct Search *search = context;
  const u32 caller = search->path[search->depth - 1];
  if (search->states[number] == UNSEEN) visit(search, number);
  if (search->states[number] == OPEN) note_cycle(search, number);
  else measure_call(search->module, &search->module->functions[caller], number);
  return false;
}

void walk_calls(struct Module *module, bool allow_recursion) {
  struct Search search = {.module = module};
  search.path = allocate(module->function_count * sizeof *search.path);
  search.offsets = allocate(module->function_count * sizeof *search.offsets);
  search.states = allocate(module->function_count * sizeof *search.states);
  search.cycles = allocate(module->function_count * sizeof *search.cycles);
  search.cycle_offsets = allocate(module->function_count * sizeof *search.cycle_offsets);
  for (u32 i = 0; i < module->function_count; i++) module->functions[i].slot_count = count_slots(module, i);
  for (u32 i = 0; i < module->function_count; i++)
    if (search.states[i] == UNSEEN) visit(&search, i);
  module->walked = true;
  for (u32 i = 0; i < module->function_count && !allow_recursion; i++)
    if (search.cycles[i])
      refuse(module, &module->functions[i], search.cycle_offsets[i],
             "recursion: %s; the stack has no bound, use a loop", search.cycles[i]);
}

/* ---- state that an instance must not have ---- */

static bool starts_with(const char *text, const char *start) { return !strncmp(text, start, strlen(start)); }

/* Whether a function is not the user's: of the library, or made by asc, which then has no place in a source. */
static bool is_library(const struct Module *module, const struct Function *function) {
  const char *file;
  u32 line;
  return starts_with(function->name, "~lib/") ||
         (module->mapping_count && !find_place(module, function, NONE, true, &file, &line));
}

/* Whether a function, a global or a file is the heap's. ~lib/rt/common describes objects and allocates none. */
static bool is_heap(const char *name) {
  return starts_with(name, "~lib/rt/") && !starts_with(name, "~lib/rt/common");
}

/* Whether an instruction was inlined from the heap. */
static const char *find_inlined_heap(const struct Module *module, const struct Function *function, u32 wasm_offset) {
  const char *file;
  u32 line;
  const bool found = find_place(module, function, wasm_offset, false, &file, &line) && is_heap(file);
  return found ? format("%s:%u", file, line) : NULL;
}

/* The heap function that a call ends in, directly or through library functions only; NULL if none. `seen` is by
 * function. */
static const char *find_called_heap(const struct Module *module, const struct Instruction *call, bool *seen) {
  if (!is_call(call)) return NULL;
  const struct Function *callee = &module->functions[call->callee];
  if (is_heap(callee->name)) return callee->name;
  if (!is_library(module, callee) || seen[call->callee]) return NULL;
  seen[call->callee] = true;
  for (u32 i = 0; i < callee->code_count; i++) {
    const char *found = find_called_heap(module, &callee->code[i], seen);
    if (found) return found;
  }
  return NULL;
}

/* Refuses the first allocation in a function that is not the library's. */
static bool refuse_allocation(struct Module *module, const struct Function *function) {
  bool *seen = allocate(module->function_count * sizeof *seen);
  for (u32 i = 0; i < function->code_count; i++) {
    const struct Instruction *instruction = &function->code[i];
    const char *heap = find_called_heap(module, instruction, seen);
    if (heap) {
      const char *callee = module->functions[instruction->callee].name;
      if (callee != heap) heap = format("%s, which calls %s", callee, heap);
    } else if (instruction->wasm_offset != NONE) {
      heap = find_inlined_heap(module, function, instruction->wasm_offset);
    }
    if (!heap) continue;
    refuse(module, function, instruction->wasm_offset, "allocates on the heap (%s); use memory set aside at start",
           heap);
    return true;
  }
  return false;
}

/* True if the heap is linked in, which has then been refused. */
static bool check_heap(struct Module *module) {
  const struct Function *heap = NULL;
  bool refused = false;
  for (u32 i = module->import_count; i < module->function_count; i++) {
    const struct Function *function = &module->functions[i];
    if (is_heap(function->name)) heap = function;
    else if (!is_library(module, function)) refused |= refuse_allocation(module, function);
  }
  if (heap && !refused)
    refuse(module, heap, NONE, "the heap is linked in; expected asc --runtime stub without --exportRuntime");
  return heap || refused;
}

static void refuse_global(struct Module *module, u32 number) {
  const char *name = module->globals[number].name;
  const char *advice = "vCPUs would share it; keep it in linear memory, as an @unmanaged overlay on memory.data()";
  if (!strcmp(name, "~argumentsLength"))
    advice =
        "asc adds it for optional parameters of exported functions and of function references; make them required";
  else if (is_heap(name)) advice = "it is the heap's; do not use `new`, string concatenation or growing arrays";
  for (u32 i = module->import_count; i < module->function_count; i++)
    for (u32 j = 0; j < module->functions[i].code_count; j++) {
      const struct Instruction *instruction = &module->functions[i].code[j];
      if (*instruction->operation->words != 'g' || instruction->words[0] != number) continue;
      refuse(module, &module->functions[i], instruction->wasm_offset, "uses mutable global %s: %s", name, advice);
      return;
    }
  refuse(module, NULL, NONE, "mutable global %s: %s", name, advice);
}

static void check_growth(struct Module *module, bool heap_refused) {
  for (u32 i = module->import_count; i < module->function_count; i++)
    for (u32 j = 0; j < module->functions[i].code_count; j++) {
      const struct Instruction *instruction = &module->functions[i].code[j];
      if (strcmp(instruction->operation->name, "MemGrow")) continue;
      const bool of_heap = is_heap(module->functions[i].name) ||
                           find_inlined_heap(module, &module->functions[i], instruction->wasm_offset);
      if (!heap_refused || !of_heap)
        refuse(module, &module->functions[i], instruction->wasm_offset, "memory.grow; the memory's size is fixed");
    }
}

void check_state(struct Module *module) {
  const bool heap_refused = check_heap(module);
  for (u32 i = 0; i < module->global_count; i++)
    if (module->globals[i].mutable && !(heap_refused && is_heap(module->globals[i].name))) refuse_global(module, i);
  check_growth(module, heap_refused);
  if (module->start_function != NONE && !heap_refused) /* the heap has one of its own */
    refuse(module, &module->functions[module->start_function], NONE,
           "a start function would run before the first export; make top-level statements constant");
}
