/* wasm3-build: from a wasm module to C, if the module may be part of the hypervisor. See README.md. */
#include "wasm3-build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: wasm3-build IN.wasm --prefix NAME [-o OUT.c] [--report] [option...]\n"
    "       wasm3-build --list-ops [IN.wasm]\n"
    "\n"
    "Checks a WebAssembly module and writes it as C, or says what in it is refused.\n"
    "\n"
    "  -o OUT.c              the C to write; written whole or not at all\n"
    "  --prefix NAME         of every symbol: export `enter` becomes NAME_enter\n"
    "  --map IN.wasm.map     asc's source map, for #line and for messages\n"
    "  --allow-imports FILE  refuse imports that it does not list: one `module` or `module.function` a line, # comments\n"
    "  --report              print functions, imports, memory image, stack bound and refused features\n"
    "  --include HEADER      a header for the C to include, which defines the imports; may be repeated\n"
    "  --noinline A,B,C      functions, by their names in the module, that the C compiler is to keep out of line\n"
    "  --locals FILE         give variables of the sources C variables with their names; README.md says what is in FILE\n"
    "  --allow-recursion     do not refuse cycles in the call graph\n"
    "  --list-ops            print the operations that can be translated, or those that a module uses and how often\n"
    "  --help                print this\n"
    "\n"
    "Status 0: done. Status 1: refused, and a line on stderr for each thing refused; or not done, and why.\n"
    "Refused are the heap, mutable globals, recursion, floats, memory.grow, start functions, imports that are not listed,\n"
    "and every operation that is not known; README.md has the whole list.\n";

struct Options {
  const char *module, *out, *prefix, *map, *allow_imports, *noinline, *locals;
  const char **includes;
  u32 include_count;
  bool report, allow_recursion, list_operations;
};

static struct Options options;

/* Where the value of an option belongs. */
static const char **find_value(const char *option) {
  if (!strcmp(option, "-o")) return &options.out;
  if (!strcmp(option, "--prefix")) return &options.prefix;
  if (!strcmp(option, "--map")) return &options.map;
  if (!strcmp(option, "--allow-imports")) return &options.allow_imports;
  if (!strcmp(option, "--noinline")) return &options.noinline;
  if (!strcmp(option, "--locals")) return &options.locals;
  if (strcmp(option, "--include")) die("unknown option %s; expected one that --help lists", option);
  options.includes = grow(options.includes, options.include_count, sizeof *options.includes);
  return &options.includes[options.include_count++];
}

static void read_options(char **arguments) {
  while (*++arguments) {
    const char *option = *arguments;
    if (!strcmp(option, "--help")) {
      fputs(usage, stdout);
      exit(0);
    }
    if (!strcmp(option, "--allow-recursion")) options.allow_recursion = true;
    else if (!strcmp(option, "--report")) options.report = true;
    else if (!strcmp(option, "--list-ops")) options.list_operations = true;
    else if (*option == '-') {
      const char **value = find_value(option);
      if (!*++arguments) die("%s: expected a value after it", option);
      if (*value) die("%s: given twice", option);
      *value = *arguments;
    } else {
      if (options.module) die("two modules given, %s and %s; expected one", options.module, option);
      options.module = option;
    }
  }
  if (options.list_operations) return;
  if (!options.module || !options.prefix || (!options.out && !options.report))
    die("expected IN.wasm, --prefix NAME, and -o OUT.c or --report; see --help");
  if (options.locals && !options.map) die("--locals %s: expected --map too, which says where instructions are from", options.locals);
  const char *symbol = sanitise(options.prefix);
  if (strcmp(symbol, options.prefix) || !*symbol || (*symbol >= '0' && *symbol <= '9'))
    die("--prefix %s: expected a C identifier of letters, digits and single underscores", options.prefix);
}

static void print_operations(bool used_only) {
  for (u32 i = 0; i < operation_count; i++) {
    const struct Operation *operation = &operations[i];
    if (!operation->statement) continue;
    if (!used_only) printf("%s\n", operation->name);
    else if (operation->uses) printf("%s %u\n", operation->name, operation->uses);
  }
}

void finish(const struct Module *module) {
  if (options.report) print_report(module, options.prefix);
  fflush(stdout);
  exit(module->refusal_count ? 1 : 0);
}

/* Later stages count on what earlier ones have checked. */
static void stop_if_refused(const struct Module *module) {
  if (module->refusal_count) finish(module);
}

int main(int count, char **arguments) {
  if (!count) return 1;
  read_options(arguments);
  if (options.list_operations && !options.module) {
    print_operations(false);
    return 0;
  }
  struct Module module = {.path = options.module};
  module.bytes = read_file(options.module, &module.size);
  if (options.map) read_source_map(&module, options.map);
  if (options.locals) read_locals(options.locals);
  read_sections(&module);
  if (options.allow_imports) check_imports(&module, options.allow_imports);
  stop_if_refused(&module);
  compile_functions(&module);
  check_state(&module);
  walk_calls(&module, options.allow_recursion);
  stop_if_refused(&module);
  if (options.list_operations) {
    print_operations(true);
    return 0;
  }
  if (options.noinline) keep_out_of_line(&module, options.noinline);
  struct Writer writer = {.out = options.out ? options.out : "C"};
  name_symbols(&module, options.prefix);
  stop_if_refused(&module);
  if (options.locals) find_locals(&module);
  write_module(&writer, &module, options.prefix, options.includes, options.include_count);
  if (options.out) write_file(options.out, &writer.text);
  finish(&module);
}
