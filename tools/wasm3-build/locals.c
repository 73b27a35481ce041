/* Names of locals, from a table of where in the sources which variable is meant.
 *
 * An optimised module knows no variables: several may be in one wasm local, one after the other, and one in several.
 * But each local.get and local.set has a place in the sources. A get where the sources name a variable reads that
 * variable, and a set where they assign to it writes it. So the C keeps a variable of its own for each, and copies to it
 * behind such a set and before such a get. */
#include "reader.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum Meaning { SET, GET, START };

struct Mention {
  const char *file, *name, *function; /* the function that declares it */
  u32 line, column;
  enum Meaning meaning;
  bool fixed;
};

struct Parameters {
  const char *function, **names;
  u32 count;
};

static struct Mention *mentions;
static struct Parameters *functions;
static u32 mention_count, function_count;

/* ---- the table ---- */

static int compare_mentions(const void *a, const void *b) {
  const struct Mention *x = a, *y = b;
  int files = strcmp(x->file, y->file);
  if (files) return files;
  if (x->line != y->line) return x->line < y->line ? -1 : 1;
  return (x->column > y->column) - (x->column < y->column);
}

static bool read_number(const char *text, u32 *number) {
  char *end;
  unsigned long value = strtoul(text, &end, 10);
  *number = (u32)value;
  return isdigit((unsigned char)*text) && !*end && value && value < 1 << 30;
}

static bool read_place(char *text, struct Mention *mention) {
  char *column = strrchr(text, ':');
  if (!column) return false;
  *column++ = 0;
  char *line = strrchr(text, ':');
  if (!line) return false;
  *line++ = 0;
  mention->file = text;
  return *text && read_number(line, &mention->line) && read_number(column, &mention->column);
}

static bool is_name(const char *text) {
  if (!*text || isdigit((unsigned char)*text)) return false;
  for (; *text; text++)
    if (!isalnum((unsigned char)*text) && *text != '_' && *text != '$' && !(*text & 0x80)) return false;
  return true;
}

static bool add_parameters(char **words, u32 count) {
  functions = grow(functions, function_count, sizeof *functions);
  struct Parameters *added = &functions[function_count++];
  added->function = words[1];
  added->count = count - 2;
  added->names = allocate(added->count * sizeof *added->names);
  for (u32 i = 2; i < count; i++) {
    if (!is_name(words[i])) return false;
    added->names[i - 2] = words[i];
  }
  return true;
}

static bool add_mention(char **words, u32 count) {
  static const char *const meanings[] = {"set", "get", "start"};
  struct Mention mention = {.name = words[2], .function = words[3], .fixed = count == 5};
  while (strcmp(words[1], meanings[mention.meaning]))
    if (++mention.meaning > START) return false;
  if (!is_name(mention.name) || (count == 5 && strcmp(words[4], "const")) || !read_place(words[0], &mention))
    return false;
  mentions = grow(mentions, mention_count, sizeof *mentions);
  mentions[mention_count++] = mention;
  return true;
}

void read_locals(const char *path) {
  enum { MAX_COLUMNS = 300 };
  size_t size;
  u32 number = 0;
  for (char *next = (char *)read_file(path, &size); next && *next;) {
    char *line = strsep(&next, "\n"), *words[MAX_COLUMNS];
    u32 count = 0;
    number++;
    if (*line == '#') continue;
    while (line && count < MAX_COLUMNS) {
      words[count] = strsep(&line, " ");
      if (*words[count]) count++;
    }
    if (!count) continue;
    if (!line && count >= 2 && !strcmp(words[0], "parameters") ? add_parameters(words, count)
                                                               : (count == 4 || count == 5) && add_mention(words, count))
      continue;
    die("%s:%u: expected `FILE:LINE:COLUMN set|get|start NAME FUNCTION [const]` or `parameters FUNCTION NAME...`", path,
        number);
  }
  qsort(mentions, mention_count, sizeof *mentions, compare_mentions);
}

/* ---- variables of one function ---- */

/* Whether a function of the module, `path/name<u32>` for one of several types, is that of the table. */
static bool is_function(const char *of_module, const char *of_table) {
  size_t length = strlen(of_table);
  return !strncmp(of_module, of_table, length) && (!of_module[length] || of_module[length] == '<');
}

static struct Variable *find_variable(struct Function *function, const char *name, const char *of, char width) {
  for (u32 i = 0; i < function->variable_count; i++) {
    struct Variable *known = &function->variables[i];
    if (!strcmp(known->name, name) && !strcmp(known->function, of)) return known->width == width ? known : NULL;
  }
  function->variables = grow(function->variables, function->variable_count, sizeof *function->variables);
  struct Variable *added = &function->variables[function->variable_count++];
  *added = (struct Variable){.name = name, .function = of, .width = width, .parameter = NONE};
  return added;
}

static u32 number_of(const struct Function *function, const struct Variable *variable) {
  return (u32)(variable - function->variables);
}

/* Words that C takes for something else, and names of the tool's own. */
static bool is_taken(const struct Module *module, const struct Function *function, const char *symbol) {
  static const char words[] =
      " asm auto break case char const continue default do double else enum extern float for goto if inline int long "
      "register restrict return short signed sizeof static struct switch typedef typeof union unsigned void volatile "
      "while u8 u16 u32 u64 s8 s16 s32 s64 linux unix i386 ";
  if (strstr(words, format(" %s ", symbol))) return true;
  if (!strncmp(symbol, "wasm", 4) || !strncmp(symbol, "WASM3_", 6) || !strncmp(symbol, "__", 2)) return true;
  for (u32 i = 0; i < module->function_count; i++)
    if (!strcmp(module->functions[i].symbol, symbol)) return true;
  for (u32 i = 0; i < function->variable_count; i++)
    if (function->variables[i].symbol && !strcmp(function->variables[i].symbol, symbol)) return true;
  return false;
}

static const char *last_part(const char *path) {
  const char *slash = strrchr(path, '/');
  return sanitise(slash ? slash + 1 : path);
}

/* A function's own variables come first and have their names; one of a function that was inlined has that too unless it
 * is taken, and then the inlined function's before it. */
static void name_variables(const struct Module *module, struct Function *function) {
  for (int own = 1; own >= 0; own--)
    for (u32 i = 0; i < function->variable_count; i++) {
      struct Variable *variable = &function->variables[i];
      if (is_function(function->name, variable->function) != own) continue;
      const char *symbol = variable->name;
      if (!own && is_taken(module, function, symbol))
        symbol = format("%s_%s", last_part(variable->function), variable->name);
      while (is_taken(module, function, symbol)) symbol = format("%s_", symbol);
      variable->symbol = symbol;
    }
}

/* ---- gets and sets ---- */

static const struct Mention *find_mention(const struct Module *module, u32 offset, bool is_set) {
  u32 low = 0, high = module->mapping_count;
  while (low < high) {
    u32 middle = (low + high) / 2;
    if (module->mappings[middle].wasm_offset <= offset) low = middle + 1;
    else high = middle;
  }
  const struct Mapping *mapping = low ? &module->mappings[low - 1] : NULL;
  if (!mapping || mapping->wasm_offset != offset || mapping->source == NONE) return NULL;
  const struct Mention key = {.file = module->sources[mapping->source], .line = mapping->line, .column = mapping->column};
  const struct Mention *found = bsearch(&key, mentions, mention_count, sizeof key, compare_mentions);
  if (!found) return NULL;
  while (found > mentions && !compare_mentions(found - 1, &key)) found--;
  for (; found < mentions + mention_count && !compare_mentions(found, &key); found++)
    if ((found->meaning == SET) == is_set) return found;
  return NULL;
}

static char width_of_local(const struct Function *function, u32 local) {
  const size_t parameters = strlen(function->type->parameters);
  return local < parameters ? function->type->parameters[local] : function->local_types[local - parameters];
}

static void add_copy(struct Function *function, u32 offset, u32 local, u32 variable, bool before) {
  function->copies = grow(function->copies, function->copy_count, sizeof *function->copies);
  function->copies[function->copy_count++] = (struct Copy){offset, local, variable, before, NONE};
}

struct Scan {
  struct Module *module;
  struct Function *function;
  const struct Parameters *parameters; /* in the sources; NULL if unknown */
  bool *was_set;   /* by local: before, in the order of the code */
  u32 *last;       /* by local: the variable that it was last found to be; NONE */
  bool *is_copied; /* by local: to that variable, and from there the code has come straight */
  u32 settled;     /* copies before this one have their `limit` */
};

/* Who takes a get of a parameter for one of the function's own names its parameter. */
static void claim_parameter(const struct Scan *scan, struct Variable *variable, u32 local) {
  if (!scan->parameters || !is_function(scan->function->name, variable->function)) return;
  for (u32 i = 0; i < scan->function->variable_count; i++)
    if (scan->function->variables[i].parameter == local) return;
  for (u32 i = 0; i < scan->parameters->count; i++)
    if (variable->parameter == NONE && !strcmp(scan->parameters->names[i], variable->name)) variable->parameter = local;
}

/* A get of a variable that begins an expression may be of the expression instead, which the optimizer keeps in a local
 * when it is wanted again: it counts only if the local is known to be the variable. */
static void see_get(struct Scan *scan, u32 offset, u32 local) {
  struct Function *function = scan->function;
  const struct Mention *mention = find_mention(scan->module, offset, false);
  if (!mention) return;
  const bool untouched = local < strlen(function->type->parameters) && !scan->was_set[local];
  struct Variable *variable = find_variable(function, mention->name, mention->function, width_of_local(function, local));
  if (!variable) return;
  const u32 number = number_of(function, variable);
  if (mention->meaning == START && !untouched && scan->last[local] != number) return;
  if (untouched) claim_parameter(scan, variable, local);
  if (untouched && variable->parameter == local) return;
  if (untouched && mention->fixed) {
    for (u32 i = 0; i < function->copy_count; i++)
      if (function->copies[i].variable == number && function->copies[i].offset == NONE) return;
    add_copy(function, NONE, local, number, true);
    return;
  }
  if (scan->last[local] != number || !scan->is_copied[local]) add_copy(function, offset, local, number, true);
  scan->last[local] = number;
  scan->is_copied[local] = true;
}

static void see_set(struct Scan *scan, u32 offset, u32 local) {
  scan->was_set[local] = true;
  scan->last[local] = NONE;
  const struct Mention *mention = find_mention(scan->module, offset, true);
  if (!mention) return;
  const struct Variable *variable =
      find_variable(scan->function, mention->name, mention->function, width_of_local(scan->function, local));
  if (!variable) return;
  scan->last[local] = number_of(scan->function, variable);
  scan->is_copied[local] = true;
  add_copy(scan->function, offset, local, scan->last[local], false);
}

/* Where the code may go elsewhere, or come from elsewhere. */
static void see_control(struct Scan *scan, u32 offset, u32 opcode, u32 local_count) {
  const bool reads = opcode == 0x04 || (opcode >= 0x0d && opcode <= 0x0f); /* if, br_if, br_table, return */
  for (; scan->settled < scan->function->copy_count; scan->settled++)
    scan->function->copies[scan->settled].limit = reads ? offset : offset - 1;
  const bool joins = opcode == 0x03 || opcode == 0x05 || opcode == 0x0b; /* loop, else, end */
  if (joins) memset(scan->is_copied, 0, local_count * sizeof *scan->is_copied);
}

static void see_instruction(void *context, u32 offset, u32 opcode, u32 immediate) {
  struct Scan *scan = context;
  const u32 local_count = (u32)strlen(scan->function->type->parameters) + scan->function->local_count;
  if (opcode >= 0x02 && opcode <= 0x0f) see_control(scan, offset, opcode, local_count);
  if (opcode < 0x20 || opcode > 0x22 || immediate >= local_count) return;
  if (opcode == 0x20) see_get(scan, offset, immediate);
  else see_set(scan, offset, immediate);
}

/* Parameters of which none has been optimized away have their names from the start. */
static void name_parameters(const struct Scan *scan) {
  const char *types = scan->function->type->parameters;
  if (!scan->parameters || scan->parameters->count != strlen(types)) return;
  for (u32 i = 0; i < scan->parameters->count; i++) {
    struct Variable *variable =
        find_variable(scan->function, scan->parameters->names[i], scan->parameters->function, types[i]);
    if (variable) variable->parameter = i;
  }
}

void find_locals(struct Module *module) {
  for (u32 i = module->import_count; i < module->function_count; i++) {
    struct Function *function = &module->functions[i];
    struct Scan scan = {.module = module, .function = function};
    const size_t local_count = strlen(function->type->parameters) + function->local_count;
    scan.was_set = allocate(local_count * sizeof *scan.was_set);
    scan.last = allocate(local_count * sizeof *scan.last);
    scan.is_copied = allocate(local_count * sizeof *scan.is_copied);
    for (size_t local = 0; local < local_count; local++) scan.last[local] = NONE;
    for (u32 j = 0; j < function_count && !scan.parameters; j++)
      if (is_function(function->name, functions[j].function)) scan.parameters = &functions[j];
    name_parameters(&scan);
    walk_body(module, function, see_instruction, &scan);
    name_variables(module, function);
    function->prefix = "wasm_";
  }
}
