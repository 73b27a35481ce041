/* C names for functions. */
#include "wasm3-build.h"

#include <ctype.h>
#include <string.h>

/* Letters, digits, and one underscore for each run of anything else. */
char *sanitise(const char *text) {
  struct Text symbol = {0};
  append(&symbol, "%s", "");
  for (; *text; text++) {
    if (isalnum((unsigned char)*text)) append(&symbol, "%c", *text);
    else if (symbol.length && symbol.chars[symbol.length - 1] != '_') append(&symbol, "_");
  }
  while (symbol.length && symbol.chars[symbol.length - 1] == '_') symbol.chars[--symbol.length] = 0;
  return symbol.chars;
}

/* kernel/vcpu/exit/dispatch of module monitor is monitor_vcpu_exit_dispatch; of kernel/monitor/ the second "monitor"
 * goes too. */
static char *readable_symbol(const char *name, const char *function_name) {
  const char *rest = function_name;
  if (!strncmp(rest, "kernel/", 7)) rest += 7;
  size_t length = strlen(name);
  if (!strncmp(rest, name, length) && rest[length] == '/') rest += length + 1;
  return format("%s_%s", name, sanitise(rest));
}

/* Names that write_module gives to an instance's constants and its table. */
static const char *const reserved[] = {"memory_pages", "segments", "segment_count", "table", "thunk"};

static bool is_taken(const struct Module *module, const char *name, const char *symbol) {
  for (u32 i = 0; i < sizeof reserved / sizeof *reserved; i++)
    if (!strcmp(symbol, format("%s_%s", name, reserved[i]))) return true;
  for (u32 i = 0; i < module->export_count; i++)
    if (module->exports[i].symbol && !strcmp(module->exports[i].symbol, symbol)) return true;
  for (u32 i = 0; i < module->function_count; i++)
    if (module->functions[i].symbol && !strcmp(module->functions[i].symbol, symbol)) return true;
  return false;
}

void name_symbols(struct Module *module, const char *name) {
  for (u32 i = 0; i < module->function_count; i++) {
    struct Function *function = &module->functions[i];
    if (function->import_module)
      function->symbol = format("%s_%s", sanitise(function->import_module), sanitise(function->import_field));
  }
  for (u32 i = 0; i < module->export_count; i++) {
    struct Export *export = &module->exports[i];
    if (export->kind != 0) continue;
    char *symbol = format("%s_%s", name, sanitise(export->name));
    if (is_taken(module, name, symbol))
      refuse(module, &module->functions[export->index], NONE, "export %s would be %s in C, which is taken; rename it",
             export->name, symbol);
    export->symbol = symbol;
    if (!module->functions[export->index].symbol) module->functions[export->index].symbol = symbol;
  }
  for (u32 i = 0; i < module->function_count; i++) {
    struct Function *function = &module->functions[i];
    if (function->symbol) continue;
    const char *readable = readable_symbol(name, function->name), *symbol = readable;
    for (u32 n = 2; is_taken(module, name, symbol); n++) symbol = format("%s_%u", readable, n);
    function->symbol = symbol;
  }
}
