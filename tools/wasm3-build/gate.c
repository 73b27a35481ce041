/* What a module must be, beyond what can be translated, to be part of the hypervisor; and a listing to read. */
#include "wasm3-build.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void refuse(struct Module *module, const struct Function *function, u32 wasm_offset, const char *format, ...) {
  const char *file;
  u32 line;
  fprintf(stderr, "wasm3-build: %s: ", module->path);
  if (function) {
    fprintf(stderr, "%s", function->name);
    if (find_place(module, function, wasm_offset, true, &file, &line) ||
        find_place(module, function, wasm_offset, false, &file, &line))
      fprintf(stderr, " (%s:%u)", file, line);
    fputs(": ", stderr);
  }
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  module->refusals++;
}

/* ---- the listing ---- */

static void print_type(const struct Type *type) {
  const char *separator = "(";
  for (const char *p = type->parameters; *p; p++, separator = ", ")
    printf("%s%s", separator, *p == 'w' ? "i32" : "i64");
  printf("%s%s", *type->parameters ? ")" : "()", *type->results ? *type->results == 'w' ? ": i32" : ": i64" : "");
}

static void print_imports(const struct Module *module) {
  for (u32 i = 0; i < module->import_count; i++) {
    const char *capability = module->functions[i].import_module;
    bool seen = false;
    for (u32 j = 0; j < i; j++) seen |= !strcmp(capability, module->functions[j].import_module);
    if (seen) continue;
    printf("  imports   %s:", capability);
    const char *separator = " ";
    for (u32 j = i; j < module->import_count; j++) {
      if (strcmp(capability, module->functions[j].import_module)) continue;
      printf("%s%s", separator, module->functions[j].import_field);
      print_type(module->functions[j].type);
      separator = ", ";
    }
    printf("\n");
  }
  if (!module->import_count) printf("  imports   none\n");
}

void print_listing(const struct Module *module, const char *name) {
  printf("module %s (%s)\n", name, module->path);
  printf("  wasm      %zu bytes, %u functions\n", module->size, module->function_count - module->import_count);
  print_imports(module);
  for (u32 i = 0; i < module->export_count; i++) {
    static const char *const kinds[] = {"", " (table)", " (memory)", " (global)", " (tag)"};
    const struct Export *export = &module->exports[i];
    printf("  exports   %s%s", export->name, export->kind <= 4 ? kinds[export->kind] : "");
    if (export->kind == 0) print_type(module->functions[export->index].type);
    printf("\n");
  }
  printf("  memory    %u pages, %u data segments\n", module->pages, module->segment_count);
  printf("  tables    %u entries\n", module->table_size);
  printf("  globals   %u\n", module->global_count);
}

/* ---- imports ---- */

static bool is_listed(const char *list, const char *word) {
  size_t length = strlen(word);
  for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
    if (!strncmp(p, word, length) && (p[length] == ',' || !p[length])) return true;
  return false;
}

void check_imports(struct Module *module, const char *allowed) {
  for (u32 i = 0; i < module->import_count; i++) {
    const struct Function *import = &module->functions[i];
    if (!is_listed(allowed, import->import_module))
      refuse(module, NULL, NONE, "imports %s.%s; expected imports of %s only", import->import_module,
             import->import_field, *allowed ? allowed : "nothing");
  }
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
  u32 *path; /* the functions being visited, outermost first */
  u32 depth;
  enum { UNSEEN, OPEN, DONE } * states;
  bool *reported; /* one cycle through a function is enough */
};

static bool visit_callee(void *context, u32 number) {
  struct Search *search = context;
  struct Module *module = search->module;
  if (search->states[number] == DONE) return false;
  if (search->states[number] == OPEN) {
    if (search->reported[number]) return false;
    search->reported[number] = true;
    u32 first = search->depth;
    while (search->path[--first] != number) {}
    struct Text cycle = {0};
    for (u32 i = first; i < search->depth; i++) append(&cycle, "%s -> ", module->functions[search->path[i]].name);
    refuse(module, &module->functions[number], NONE, "recursion: %s%s; the stack has no bound, use a loop",
           cycle.chars, module->functions[number].name);
    return false;
  }
  search->states[number] = OPEN;
  search->path[search->depth++] = number;
  for (u32 i = 0; i < module->functions[number].code_count; i++)
    for_each_callee(module, &module->functions[number].code[i], visit_callee, search);
  search->depth--;
  search->states[number] = DONE;
  return false;
}

void check_recursion(struct Module *module) {
  struct Search search = {.module = module};
  search.path = allocate(module->function_count * sizeof *search.path);
  search.states = allocate(module->function_count * sizeof *search.states);
  search.reported = allocate(module->function_count * sizeof *search.reported);
  for (u32 i = 0; i < module->function_count; i++) visit_callee(&search, i);
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
