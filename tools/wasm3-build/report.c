/* What a module is made of, to read and to diff: --report. */
#include "wasm3-build.h"

#include <stdio.h>
#include <string.h>

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

static void print_exports(const struct Module *module) {
  static const char *const kinds[] = {"", " (table)", " (memory)", " (global)", " (tag)"};
  for (u32 i = 0; i < module->export_count; i++) {
    const struct Export *export = &module->exports[i];
    printf("  exports   %s%s", export->name, export->kind <= 4 ? kinds[export->kind] : "");
    if (export->kind == 0) print_type(module->functions[export->index].type);
    printf("\n");
  }
  if (!module->export_count) printf("  exports   nothing\n");
}

static void print_memory(const struct Module *module) {
  u64 end, start = 0, length, bytes = 0;
  u32 count = 0;
  const u8 *image = read_image(module, &end);
  for (; next_stretch(image, end, &start, &length); start += length) bytes += length, count++;
  printf("  memory    %u pages of 64 KiB, all zeros but %llu bytes in %u segments\n", module->pages,
         (unsigned long long)bytes, count);
  printf("  tables    %u entries\n", module->table_size);
  printf("  globals   %u\n", module->global_count);
}

/* What wasm alone says of the stack: native frames are the C compiler's business (gcc -fstack-usage). */
static void print_stack(const struct Module *module) {
  const struct Function *deepest = NULL;
  u32 slots = 0;
  for (u32 i = module->import_count; i < module->function_count; i++) {
    const struct Function *function = &module->functions[i];
    if (!deepest || function->call_depth > deepest->call_depth) deepest = function;
    if (function->path_slots > slots) slots = function->path_slots;
  }
  if (module->cycle) {
    printf("  stack     no bound: %s\n", module->cycle);
    return;
  }
  printf("  stack     at most %u calls deep, at most %u slots of 8 bytes", deepest ? deepest->call_depth : 0, slots);
  for (const char *separator = ": "; deepest; separator = " -> ") {
    printf("%s%s", separator, deepest->name);
    deepest = deepest->deepest == NONE ? NULL : &module->functions[deepest->deepest];
  }
  printf("\n");
}

static void print_functions(const struct Module *module) {
  for (u32 i = module->import_count; i < module->function_count; i++) {
    const struct Function *function = &module->functions[i];
    const char *file;
    u32 line;
    if (!function->name) return; /* a refusal ended the reading before the names */
    printf("  function  %s", function->name);
    print_type(function->type);
    if (find_place(module, function, NONE, false, &file, &line)) printf(" (%s:%u)", file, line);
    printf(": %zu bytes", function->body ? (size_t)(function->body_end - function->body) : 0);
    if (function->code_count) printf(", %u operations, %u slots", function->code_count, function->slot_count);
    if (function->code_count && !module->cycle) printf(", %u calls deep", function->call_depth);
    printf("\n");
  }
}

void print_report(const struct Module *module, const char *name) {
  printf("module %s (%s)\n", name, module->path);
  printf("  wasm      %zu bytes, %u functions\n", module->size, module->function_count - module->import_count);
  print_imports(module);
  print_exports(module);
  print_memory(module);
  if (module->walked) print_stack(module);
  print_functions(module);
  for (u32 i = 0; i < module->refusal_count; i++) printf("  refused   %s\n", module->refusals[i]);
  if (!module->refusal_count) printf("  refused   nothing\n");
}
