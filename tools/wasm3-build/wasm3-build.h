/* What the files of wasm3-build share: the model of one module, from its bytes to the C that is written.
 * The tool runs once and exits, so nothing is ever freed. */
#ifndef WASM3_BUILD_H
#define WASM3_BUILD_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

#define NONE UINT32_MAX

/* Stack height, and locals with parameters, of one function. wasm3's own limit is set higher (see the Makefile): it
 * does not check every push, but leaves a trace of each, and wasm3.c refuses a function whose trace passes this. */
#define MAX_STACK_HEIGHT 2000

/* ---- text.c: strings, growing text, the end of the run ---- */

struct Text {
  char *chars; /* always NUL-terminated */
  size_t length, capacity;
};

void *allocate(size_t bytes);                       /* zeroed */
void *grow(void *array, size_t count, size_t size); /* room for one more element after `count`; zeroed */
char *format(const char *format, ...) __attribute__((format(printf, 1, 2)));
void append(struct Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void append_arguments(struct Text *text, const char *format, va_list arguments);
u8 *read_file(const char *path, size_t *size); /* a NUL follows */
void write_file(const char *path, const struct Text *text); /* whole or not at all */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- the model ---- */

/* Value types are one letter each, as in the names of C variables: w is 32 bits wide, x is 64, f is any other. */
struct Type {
  const char *parameters, *results;
  u32 id; /* index of the first equal type: what an indirect call compares */
};

/* One operation of wasm3, a row of operations.h. */
enum Kind { PLAIN, ENTRY, LOOP, BRANCH, TABLE, CALL, CALL_LATER, CALL_INDIRECT, RETURN };
enum Flow { NEXT, STOP };

struct Operation {
  const void *address;
  const char *name, *words;
  char operand, result;
  enum Flow flow;
  const char *statement;
  enum Kind kind;
  u32 uses; /* in this module */
};

enum { MAX_WORDS = 4 };

struct Instruction {
  struct Operation *operation;
  u32 wasm_offset;      /* of the wasm instruction it came from, in the module's bytes; NONE if unknown */
  bool labelled;        /* some branch comes here */
  u32 then;             /* instruction that follows, when it is not the next in the array; else NONE */
  u64 words[MAX_WORDS]; /* decoded operands; branch targets are instruction numbers */
  u64 *targets;         /* TABLE only: instruction numbers */
  u32 target_count;     /* TABLE only, the default included */
  u32 callee;           /* CALL: function. CALL_INDIRECT: type */
  u32 frame;            /* CALL*: the result's slot; the arguments follow */
};

/* A variable of the sources, with a C variable of its own (--locals). */
struct Variable {
  const char *name, *function, *symbol; /* the function that declares it; the name in C */
  char width;
  u32 parameter; /* of the C function, that it is; else NONE */
};

/* Where a local of wasm is a variable. */
struct Copy {
  u32 offset;  /* of the local.set it is behind, or the local.get it is before; NONE: from the function's start */
  u32 local;   /* parameters first */
  u32 variable;
  bool before; /* a get */
  u32 limit;   /* the first instruction at or behind the get does for it if its offset is not above this */
};

struct Function {
  const char *name;   /* from the name section; else its export or import name; else function[n] */
  const char *symbol; /* in C */
  const char *import_module, *import_field; /* NULL unless imported */
  u32 caller, call_offset; /* imported: the first function that calls it, and where; NONE if none does */
  const struct Type *type;
  bool exported, out_of_line;
  const u8 *body, *body_end; /* NULL if imported */
  u32 local_count;           /* without parameters */
  char *local_types;

  struct Variable *variables; /* --locals */
  struct Copy *copies;
  u32 variable_count, copy_count;
  const char *prefix; /* of C names that are not the sources': with variables there are two kinds */

  struct Instruction *code; /* NULL if imported or refused */
  u32 code_count;
  u32 constant_first, constant_count; /* slots that hold constants */
  const u64 *constants;

  u32 slot_count;               /* that values of its own are in */
  u32 deepest;                  /* of its callees, the one that the longest chain of calls goes through; NONE if none */
  u32 call_depth;               /* functions in that chain, itself included; 0 if imported */
  u32 callee_slots, path_slots; /* the most slots of any chain of calls, without and with its own */
};

struct Export {
  const char *name, *symbol; /* the symbol of functions only */
  u8 kind;                   /* 0 function, 1 table, 2 memory, 3 global */
  u32 index;
};

struct Global {
  const char *name;
  char type;
  bool mutable;
  u64 value; /* initial, and of a constant global the only one */
};

struct Segment {
  u32 offset, length;
  const u8 *bytes;
};

struct Mapping {
  u32 wasm_offset;
  u32 source; /* NONE: the compiler says that this has no place in a source */
  u32 line, column; /* both from 1 */
};

struct Module {
  const char *path;
  const u8 *bytes;
  size_t size;

  struct Type *types;
  struct Function *functions; /* imports first */
  struct Export *exports;
  struct Global *globals;
  struct Segment *segments;
  u32 *table; /* function numbers; NONE is a null entry */
  u32 type_count, function_count, import_count, export_count, global_count, segment_count, table_size;
  u32 pages; /* of memory, 64 KiB each */
  u32 start_function;

  const char **sources; /* source map; NULL without one */
  struct Mapping *mappings;
  u32 source_count, mapping_count;

  bool walked;       /* the call graph */
  const char *cycle; /* in it; NULL if there is none */

  char **refusals;
  u32 refusal_count;
};

/* ---- sections.c ---- */

/* Reads everything but the instructions, and refuses what wasm3 would misread or could not represent. */
void read_sections(struct Module *module);

/* ---- body.c ---- */

/* Refuses instructions and locals that cannot be compiled, and counts the locals. */
void check_body(struct Module *module, struct Function *function);

/* Calls `see` for each instruction of a body that has been checked, with its offset, opcode and first immediate. */
void walk_body(const struct Module *module, const struct Function *function,
               void (*see)(void *context, u32 offset, u32 opcode, u32 immediate), void *context);

/* ---- locals.c ---- */

void read_locals(const char *path);      /* the table of --locals */
void find_locals(struct Module *module); /* after name_symbols */

/* ---- sourcemap.c ---- */

void read_source_map(struct Module *module, const char *path);

/* The last place in the sources at or before an instruction, within its function; for want of one the function's
 * first. False if none is known. An offset of NONE asks for the function's first place. `of_user` passes over asc's
 * library. */
bool find_place(const struct Module *module, const struct Function *function, u32 wasm_offset, bool of_user,
                const char **file, u32 *line);

/* ---- wasm3.c: the only file that knows wasm3's structures ---- */

extern struct Operation operations[];
extern const u32 operation_count;

/* Lets wasm3 compile each function, then decodes its operations into `code`. What wasm3 cannot do is refused by name.
 */
void compile_functions(struct Module *module);

/* ---- report.c ---- */

void print_report(const struct Module *module, const char *name);

/* ---- gate.c ---- */

/* Prints one line on stderr and keeps it. `function` may be NULL, `wasm_offset` NONE. */
void refuse(struct Module *module, const struct Function *function, u32 wasm_offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same of what leaves the rest of the module unreadable: ends the run. */
_Noreturn void refuse_module(struct Module *module, const char *format, ...) __attribute__((format(printf, 2, 3)));
void check_imports(struct Module *module, const char *path); /* against a list in a file */
void check_state(struct Module *module);                     /* mutable globals, heap, start function */
void walk_calls(struct Module *module, bool allow_recursion); /* measures the stack, refuses recursion */
void keep_out_of_line(struct Module *module, const char *names);

/* ---- symbols.c ---- */

/* Gives each function its C name: `<name>_<export>` for exports, import's `<module>_<field>`, else its readable name.
 */
void name_symbols(struct Module *module, const char *name);
char *sanitise(const char *text);

/* ---- main.c ---- */

_Noreturn void finish(const struct Module *module); /* prints the report, if wanted; status 1 if anything was refused */

/* ---- function.c, module.c: writing C ---- */

/* Writes C and keeps count of lines, so that `#line` can return to the generated file itself. */
struct Writer {
  struct Text text;
  const char *file; /* that the next line of C belongs to; NULL: the generated file */
  u32 line;
  const char *out; /* name of the generated file */
  size_t counted;  /* characters of `text` in which newlines have been counted */
  u32 newlines;
};

u32 count_slots(const struct Module *module, u32 function); /* slots that values of its own are in */

/* The next stretch of the initial memory that is more than zeros, at or after *start; false if there is none. */
u8 *read_image(const struct Module *module, u64 *end);
bool next_stretch(const u8 *image, u64 end, u64 *start, u64 *length);

void place(struct Writer *writer, const char *file, u32 line); /* what follows belongs to this line of that file */
void append_signature(struct Text *text, const struct Type *type, const char *symbol);
void write_function(struct Writer *writer, const struct Module *module, const struct Function *function,
                    const char *name);
void write_module(struct Writer *writer, const struct Module *module, const char *name, const char **includes,
                  u32 include_count);

#endif
