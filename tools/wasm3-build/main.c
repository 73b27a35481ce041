/* wasm3-build: from a wasm module to C, if the module may be part of the hypervisor. See README.md. */
#include "wasm3-build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: wasm3-build MODULE.wasm --out FILE.c --name NAME [option...]\n"
    "       wasm3-build --list-ops [MODULE.wasm]\n"
    "\n"
    "Checks a WebAssembly module, prints what it is made of, and writes it as C.\n"
    "\n"
    "  --out FILE.c        the C to write; written whole or not at all\n"
    "  --name NAME         prefix of every symbol: export `enter` becomes NAME_enter\n"
    "  --map FILE.map      asc's source map, for #line and for messages\n"
    "  --include HEADER    a header for the C to include, which defines the imports; may be repeated\n"
    "  --allow A,B,C       refuse imports of any other module; \"\" allows none\n"
    "  --noinline A,B,C    functions, by their names in the module, that the C compiler is to keep out of line\n"
    "  --allow-recursion   do not refuse cycles in the call graph\n"
    "  --list-ops          print the operations that can be translated, or those that a module uses and how often\n";

struct Options {
  const char *module, *out, *name, *map, *allow, *noinline;
  const char **includes;
  u32 include_count;
  bool allow_recursion, list_operations;
};

/* Where the value of an option belongs. */
static const char **find_value(struct Options *options, const char *option) {
  if (!strcmp(option, "--out")) return &options->out;
  if (!strcmp(option, "--name")) return &options->name;
  if (!strcmp(option, "--map")) return &options->map;
  if (!strcmp(option, "--allow")) return &options->allow;
  if (!strcmp(option, "--noinline")) return &options->noinline;
  if (strcmp(option, "--include")) die("unknown option %s; expected one that --help lists", option);
  options->includes = grow(options->includes, options->include_count, sizeof *options->includes);
  return &options->includes[options->include_count++];
}

static struct Options read_options(char **arguments) {
  struct Options options = {0};
  while (*++arguments) {
    const char *option = *arguments;
    if (!strcmp(option, "--help")) {
      fputs(usage, stdout);
      exit(0);
    }
    if (!strcmp(option, "--allow-recursion")) options.allow_recursion = true;
    else if (!strcmp(option, "--list-ops")) options.list_operations = true;
    else if (*option == '-') {
      const char **value = find_value(&options, option);
      if (!*++arguments) die("%s: expected a value after it", option);
      *value = *arguments;
    } else {
      if (options.module) die("two modules given, %s and %s; expected one", options.module, option);
      options.module = option;
    }
  }
  if (options.list_operations) return options;
  if (!options.module || !options.out || !options.name)
    die("expected MODULE.wasm, --out FILE.c and --name NAME; see --help");
  const char *symbol = sanitise(options.name);
  if (strcmp(symbol, options.name) || !*symbol || (*symbol >= '0' && *symbol <= '9'))
    die("--name %s: expected a C identifier of letters, digits and single underscores", options.name);
  return options;
}

static void print_operations(bool used_only) {
  for (u32 i = 0; i < operation_count; i++) {
    const struct Operation *operation = &operations[i];
    if (!operation->statement) continue;
    if (!used_only) printf("%s\n", operation->name);
    else if (operation->uses) printf("%s %u\n", operation->name, operation->uses);
  }
}

/* Ends the run if anything was refused: later stages count on what earlier ones have checked. */
static void stop_if_refused(const struct Module *module) {
  if (!module->refusals) return;
  fflush(stdout);
  exit(1);
}

int main(int count, char **arguments) {
  if (!count) return 1;
  struct Options options = read_options(arguments);
  if (options.list_operations && !options.module) {
    print_operations(false);
    return 0;
  }
  struct Module module = {.path = options.module};
  module.bytes = read_file(options.module, &module.size);
  if (options.map) read_source_map(&module, options.map);
  read_sections(&module);
  if (!options.list_operations) print_listing(&module, options.name);
  if (options.allow) check_imports(&module, options.allow);
  stop_if_refused(&module);
  compile_functions(&module);
  check_state(&module);
  if (!options.allow_recursion) check_recursion(&module);
  stop_if_refused(&module);
  if (options.list_operations) {
    print_operations(true);
    return 0;
  }
  if (options.noinline) keep_out_of_line(&module, options.noinline);
  struct Writer writer = {.out = options.out};
  name_symbols(&module, options.name);
  stop_if_refused(&module);
  write_module(&writer, &module, options.name, options.includes, options.include_count);
  write_file(options.out, &writer.text);
  return 0;
}
