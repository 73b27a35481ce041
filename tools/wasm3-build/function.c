/* Writes one wasm function as one C function.
 *
 * wasm3's slot n becomes up to two C variables, wn of 32 bits and xn of 64, and its register wr and xr: one variable
 * for both widths would cost gcc its knowledge that the upper half is zero. Slots that hold constants become
 * literals. All C of one TypeScript line is on one physical line, for gcc counts physical lines on from each `#line`.
 */
#include "wasm3-build.h"

#include <stdlib.h>
#include <string.h>

/* ---- places ---- */

void place(struct Writer *writer, const char *file, u32 line) {
  if (writer->file == file && (!file || writer->line == line)) return;
  if (writer->text.length && writer->text.chars[writer->text.length - 1] != '\n') append(&writer->text, "\n");
  if (!file) {
    for (; writer->counted < writer->text.length; writer->counted++)
      writer->newlines += writer->text.chars[writer->counted] == '\n';
    line = writer->newlines + 2; /* the line after this directive */
  }
  append(&writer->text, "#line %u \"%s\"\n", line, file ? file : writer->out);
  writer->file = file;
  writer->line = line;
}

/* ---- operands ---- */

static const char *type_name(char width) { return width == 'w' ? "u32" : "u64"; }

static const char *literal(char width, u64 value) {
  if (width == 'w') value = (u32)value;
  return format(value < 1024 ? "%llu%s" : "0x%llx%s", (unsigned long long)value, width == 'w' ? "u" : "ul");
}

static bool is_constant(const struct Function *function, u32 slot) {
  return slot - function->constant_first < function->constant_count;
}

static const char *slot_name(const struct Function *function, char width, u32 slot) {
  return format("%s%c%u", function->prefix, width, slot);
}

static const char *slot_value(const struct Function *function, char width, u32 slot) {
  if (is_constant(function, slot)) return literal(width, function->constants[slot - function->constant_first]);
  return slot_name(function, width, slot);
}

static const char *slot_variable(const struct Function *function, char width, u32 slot) {
  if (is_constant(function, slot)) die("%s: wasm3 assigns to the slot of a constant", function->name);
  return slot_name(function, width, slot);
}

static char width_of(const struct Operation *operation, char letter) {
  switch (letter) {
  case 'a':
  case 'b': return operation->operand;
  case 'd':
  case 'p': return operation->result;
  default: return 'w';
  }
}

/* What `$letter` stands for in an operation's statement. */
static const char *operand(const struct Module *module, const struct Function *function,
                           const struct Instruction *instruction, char letter) {
  const struct Operation *operation = instruction->operation;
  char width = width_of(operation, letter);
  const char *found = strchr(operation->words, letter);
  if (!found) return format("%s%cr", function->prefix, width);
  u64 word = instruction->words[found - operation->words];
  switch (letter) {
  case 't': return format("%sL%u", function->prefix, (u32)word);
  case 'o': return format("%uul", (u32)word);
  case 'i': return literal(operation->result, word);
  case 'g': return literal(operation->result, module->globals[word].value);
  case 'd':
  case 'p': return slot_variable(function, width, (u32)word);
  default: return slot_value(function, width, (u32)word);
  }
}

static void write_statement(struct Text *text, const struct Module *module, const struct Function *function,
                            const struct Instruction *instruction) {
  for (const char *p = instruction->operation->statement; *p; p++) {
    if (*p == '$') append(text, "%s", operand(module, function, instruction, *++p));
    else append(text, "%c", *p);
  }
}

/* The variable that the parameter in a slot is; NULL if it has no name in the sources. */
static const struct Variable *parameter_at(const struct Function *function, u32 slot) {
  const u32 first = (u32)strlen(function->type->results);
  for (u32 i = 0; i < function->variable_count && slot >= first; i++)
    if (function->variables[i].parameter == slot - first) return &function->variables[i];
  return NULL;
}

/* ---- calls ---- */

/* wasm3's frame: the results, then the arguments. */
static void write_arguments(struct Text *text, const struct Function *function, const struct Type *type, u32 frame) {
  u32 slot = frame + (u32)strlen(type->results);
  append(text, "(");
  for (const char *p = type->parameters; *p; p++)
    append(text, "%s%s", p == type->parameters ? "" : ", ", slot_value(function, *p, slot++));
  append(text, ");");
}

static void write_result(struct Text *text, const struct Function *function, const struct Type *type, u32 frame) {
  if (*type->results) append(text, "%s = ", slot_variable(function, *type->results, frame));
}

/* Of a function, with the names that they have in it; else of its type, named or not. */
static void append_parameters(struct Text *text, const struct Type *type, const struct Function *function, bool named) {
  u32 slot = (u32)strlen(type->results);
  append(text, "(");
  for (const char *p = type->parameters; *p; p++) {
    const struct Variable *variable = function ? parameter_at(function, slot) : NULL;
    append(text, "%s%s%s", p == type->parameters ? "" : ", ", variable ? "WASM3_LOCAL " : "", type_name(*p));
    if (variable) append(text, " %s", variable->symbol);
    else if (named) append(text, " %s%c%u", function ? function->prefix : "", *p, slot);
    slot++;
  }
  append(text, *type->parameters ? ")" : "void)");
}

void append_signature(struct Text *text, const struct Type *type, const char *symbol) {
  append(text, "%s %s", *type->results ? type_name(*type->results) : "void", symbol);
  append_parameters(text, type, NULL, true);
}

static void write_call(struct Text *text, const struct Module *module, const struct Function *function,
                       const struct Instruction *instruction) {
  const struct Function *callee = &module->functions[instruction->callee];
  write_result(text, function, callee->type, instruction->frame);
  append(text, "%s", callee->symbol);
  write_arguments(text, function, callee->type, instruction->frame);
}

static void write_indirect_call(struct Text *text, const struct Module *module, const struct Function *function,
                                const struct Instruction *instruction, const char *name) {
  const struct Type *type = &module->types[instruction->callee];
  write_result(text, function, type, instruction->frame);
  append(text, "((%s (*)", *type->results ? type_name(*type->results) : "void");
  append_parameters(text, type, NULL, false);
  append(text, ")WASM3_CALLEE(%s_table, %uu, %s, %uu))", name, module->table_size,
         slot_value(function, 'w', (u32)instruction->words[0]), type->id + 1);
  write_arguments(text, function, type, instruction->frame);
}

static void write_table(struct Text *text, const struct Function *function, const struct Instruction *instruction) {
  u32 last = instruction->target_count - 1;
  append(text, "switch (%s) { ", slot_value(function, 'w', (u32)instruction->words[0]));
  for (u32 i = 0; i < last; i++)
    if (instruction->targets[i] != instruction->targets[last])
      append(text, "case %uu: goto %sL%u; ", i, function->prefix, (u32)instruction->targets[i]);
  append(text, "default: goto %sL%u; }", function->prefix, (u32)instruction->targets[last]);
}

/* ---- declarations ---- */

/* Which slots an instruction names, and in what width: calls `see` for each. */
static void for_each_slot(const struct Module *module, const struct Instruction *instruction,
                          void (*see)(void *context, char width, u32 slot), void *context) {
  const struct Operation *operation = instruction->operation;
  for (u32 i = 0; operation->words[i]; i++)
    if (strchr("abmcdp", operation->words[i]))
      see(context, width_of(operation, operation->words[i]), (u32)instruction->words[i]);
  if (operation->kind == TABLE || operation->kind == CALL_INDIRECT) see(context, 'w', (u32)instruction->words[0]);
  if (operation->kind == CALL || operation->kind == CALL_LATER || operation->kind == CALL_INDIRECT) {
    const struct Type *type = operation->kind == CALL_INDIRECT ? &module->types[instruction->callee]
                                                               : module->functions[instruction->callee].type;
    u32 slot = instruction->frame;
    for (const char *p = type->results; *p; p++) see(context, *p, slot++);
    for (const char *p = type->parameters; *p; p++) see(context, *p, slot++);
  }
}

struct Slots {
  u32 count;
  u8 *used[2]; /* by slot: 32 bits, 64 bits */
};

static void count_slot(void *context, char width, u32 slot) {
  struct Slots *slots = context;
  (void)width;
  if (slot >= slots->count) slots->count = slot + 1;
}

static void mark_slot(void *context, char width, u32 slot) {
  ((struct Slots *)context)->used[width == 'x'][slot] = 1;
}

/* Marks the slots that a function names. */
static struct Slots find_slots(const struct Module *module, const struct Function *function) {
  struct Slots slots = {.count = 1}; /* the result's */
  for (u32 i = 0; i < function->code_count; i++) for_each_slot(module, &function->code[i], count_slot, &slots);
  for (int i = 0; i < 2; i++) slots.used[i] = allocate(slots.count);
  for (u32 i = 0; i < function->code_count; i++) for_each_slot(module, &function->code[i], mark_slot, &slots);
  if (*function->type->results) mark_slot(&slots, *function->type->results, 0);
  return slots;
}

u32 count_slots(const struct Module *module, u32 number) {
  const struct Function *function = &module->functions[number];
  if (!function->body) return 0;
  const struct Slots slots = find_slots(module, function);
  u32 count = 0;
  for (u32 slot = 0; slot < slots.count; slot++)
    count += !is_constant(function, slot) && (slots.used[0][slot] || slots.used[1][slot]);
  return count;
}

/* Declares the variables of one width. Parameters are declared already; the locals behind them start as zero. */
static void declare(struct Text *text, const struct Function *function, const struct Slots *slots, char width) {
  const u32 first_local = (u32)(strlen(function->type->results) + strlen(function->type->parameters));
  append(text, " %s %s%cr", type_name(width), function->prefix, width);
  for (u32 slot = 0; slot < slots->count; slot++) {
    const struct Variable *named = parameter_at(function, slot);
    const bool is_parameter = slot >= strlen(function->type->results) && slot < first_local;
    if (is_parameter && function->type->parameters[slot - strlen(function->type->results)] == width && !named) continue;
    if (!slots->used[width == 'x'][slot] || is_constant(function, slot)) continue;
    const bool is_local = slot >= first_local && slot - first_local < function->local_count;
    append(text, ", %s%s", slot_name(function, width, slot), is_local ? " = 0" : "");
    if (named && named->width == width) append(text, " = %s", named->symbol);
  }
  append(text, ";");
}

/* ---- variables of the sources ---- */

static u32 slot_of_local(const struct Function *function, u32 local) {
  return (u32)strlen(function->type->results) + local;
}

static void write_copy(struct Text *text, const struct Function *function, const struct Copy *copy) {
  const struct Variable *variable = &function->variables[copy->variable];
  append(text, " %s = %s;", variable->symbol,
         slot_name(function, variable->width, slot_of_local(function, copy->local)));
}

static void declare_variables(struct Text *text, const struct Function *function) {
  for (u32 i = 0; i < function->variable_count; i++) {
    const struct Variable *variable = &function->variables[i];
    bool is_copied = false;
    for (u32 j = 0; j < function->copy_count; j++) is_copied |= function->copies[j].variable == i;
    if (variable->parameter == NONE && is_copied)
      append(text, " WASM3_LOCAL %s %s = 0;", type_name(variable->width), variable->symbol);
  }
  for (u32 i = 0; i < function->copy_count; i++)
    if (function->copies[i].offset == NONE) write_copy(text, function, &function->copies[i]);
}

/* Which instruction each copy goes with: a get's is the first that may have read it. */
static u32 *place_copies(const struct Function *function) {
  u32 *places = allocate(function->copy_count * sizeof *places);
  for (u32 i = 0; i < function->copy_count; i++) {
    const struct Copy *copy = &function->copies[i];
    u32 best = NONE;
    places[i] = NONE;
    if (copy->offset == NONE) continue;
    for (u32 j = 0; j < function->code_count; j++) {
      const struct Instruction *instruction = &function->code[j];
      const u32 offset = instruction->wasm_offset;
      if (offset == NONE || offset < copy->offset || offset >= best || (copy->before ? offset > copy->limit : offset > copy->offset))
        continue;
      const char *set = strchr(instruction->operation->words, 'd');
      if (!copy->before &&
          (!set || instruction->words[set - instruction->operation->words] != slot_of_local(function, copy->local)))
        continue;
      best = offset;
      places[i] = j;
    }
  }
  return places;
}

/* ---- functions ---- */

static void write_instruction(struct Text *text, const struct Module *module, const struct Function *function,
                              u32 number, const char *name, const u32 *places) {
  const struct Instruction *instruction = &function->code[number];
  if (instruction->labelled) append(text, " %sL%u:;", function->prefix, number);
  for (u32 i = 0; i < function->copy_count; i++)
    if (places[i] == number && function->copies[i].before) write_copy(text, function, &function->copies[i]);
  if (instruction->operation->kind != ENTRY && instruction->operation->kind != LOOP) append(text, " ");
  switch (instruction->operation->kind) {
  case TABLE: write_table(text, function, instruction); break;
  case CALL:
  case CALL_LATER: write_call(text, module, function, instruction); break;
  case CALL_INDIRECT: write_indirect_call(text, module, function, instruction, name); break;
  case RETURN:
    if (*function->type->results) append(text, "return %s;", slot_value(function, *function->type->results, 0));
    else append(text, "return;");
    break;
  default: write_statement(text, module, function, instruction);
  }
  for (u32 i = 0; i < function->copy_count; i++)
    if (places[i] == number && !function->copies[i].before) write_copy(text, function, &function->copies[i]);
  if (instruction->then != NONE) append(text, " goto %sL%u;", function->prefix, instruction->then);
}

void write_function(struct Writer *writer, const struct Module *module, const struct Function *function,
                    const char *name) {
  const struct Slots slots = find_slots(module, function);
  const u32 *places = place_copies(function);
  const char *file = NULL;
  u32 line = 0;
  find_place(module, function, NONE, false, &file, &line);
  place(writer, NULL, 0);
  append(&writer->text, "\n/* %s */\n", function->name);
  place(writer, file, line);
  append(&writer->text, "%s", function->exported ? "" : "static ");
  append(&writer->text, "%s %s", *function->type->results ? type_name(*function->type->results) : "void",
         function->symbol);
  append_parameters(&writer->text, function->type, function, true);
  append(&writer->text, " {");
  declare(&writer->text, function, &slots, 'w');
  declare(&writer->text, function, &slots, 'x');
  declare_variables(&writer->text, function);
  for (u32 i = 0; i < function->code_count; i++) {
    if (find_place(module, function, function->code[i].wasm_offset, false, &file, &line)) place(writer, file, line);
    write_instruction(&writer->text, module, function, i, name, places);
  }
  append(&writer->text, " }\n");
}
