/* The engine of the wasm3 interpreter: the sources that wasm3-build is made of, run instead of translated. */
#include "wasm3.h"
#include "m3_env.h"

#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct instance {
  IM3Runtime runtime;
  u8 *initial; /* memory */
  size_t size;
  u32 export_count;
  IM3Function *exports;
};

static struct instance *instances;

static void must(const char *path, M3Result error) {
  if (error) fprintf(stderr, "runner: %s: wasm3: %s\n", path, error), exit(2);
}

static m3ApiRawFunction(mix) {
  m3ApiReturnType(u64) m3ApiGetArg(u32, a) m3ApiGetArg(u64, b) m3ApiReturn(host_mix(a, b));
}

static m3ApiRawFunction(note) {
  m3ApiGetArg(u32, a) host_note(a);
  m3ApiSuccess();
}

static m3ApiRawFunction(noted) { m3ApiReturnType(u32) m3ApiReturn(host_noted()); }

/* A host function that the module does not import is no error. */
static void link(const char *path, IM3Module module, const char *name, const char *signature, M3RawCall function) {
  M3Result error = m3_LinkRawFunction(module, "host", name, signature, function);
  if (error != m3Err_functionLookupFailed) must(path, error);
}

/* Exports by number, in the order of the export section, which m3_env.h does not keep. */
static void find_exports(struct instance *instance, IM3Module module, const u8 *wasm, size_t size) {
  const u8 *at = wasm + 8, *end = wasm + size;
  u32 length, count, index;
  while (at < end && *at != 7) {
    at++;
    ReadLEB_u32(&length, &at, end);
    at += length;
  }
  if (at >= end) return;
  at++;
  ReadLEB_u32(&length, &at, end);
  ReadLEB_u32(&count, &at, end);
  instance->exports = calloc(count, sizeof *instance->exports);
  for (; count; count--) {
    ReadLEB_u32(&length, &at, end);
    at += length;
    u8 kind = *at++;
    ReadLEB_u32(&index, &at, end);
    if (kind) continue;
    if (module->functions[index].wasm && !module->functions[index].compiled)
      must("export", CompileFunction(&module->functions[index]));
    instance->exports[instance->export_count++] = &module->functions[index];
  }
}

static void open_instance(struct instance *instance, const char *path) {
  FILE *file = fopen(path, "rb");
  u8 *wasm = malloc(64 << 20);
  size_t size = file ? fread(wasm, 1, 64 << 20, file) : 0;
  if (!size) perror(path), exit(2);
  fclose(file);

  IM3Environment environment = m3_NewEnvironment();
  IM3Module module;
  instance->runtime = m3_NewRuntime(environment, 1 << 20, NULL);
  must(path, m3_ParseModule(environment, &module, wasm, (u32)size));
  /* wasm3 makes its table as large as its segments want, and takes none of no size for a failure. */
  module->table0Size = 65536;
  module->table0 = calloc(module->table0Size, sizeof *module->table0);
  must(path, m3_LoadModule(instance->runtime, module));
  link(path, module, "mix", "I(iI)", mix);
  link(path, module, "note", "v(i)", note);
  link(path, module, "noted", "i()", noted);
  find_exports(instance, module, wasm, size);
  u32 length;
  const u8 *memory = m3_GetMemory(instance->runtime, &length, 0);
  instance->size = length;
  instance->initial = malloc(length + 1);
  if (length) memcpy(instance->initial, memory, length);
}

void engine_open(char **arguments, char **modules, u32 count) {
  (void)arguments;
  instances = calloc(count, sizeof *instances);
  for (u32 i = 0; i < count; i++) open_instance(&instances[i], modules[i]);
}

u8 *engine_memory(u32 module, size_t *size) {
  *size = instances[module].size;
  return m3_GetMemory(instances[module].runtime, NULL, 0);
}

void engine_reset(u32 module) {
  size_t size;
  u8 *memory = engine_memory(module, &size);
  if (size) memcpy(memory, instances[module].initial, size);
}

static status status_of(M3Result error) {
  if (!error) return 0;
  if (error == m3Err_trapUnreachable) return WASM3_UNREACHABLE;
  if (error == m3Err_trapDivisionByZero) return WASM3_DIVIDE_BY_ZERO;
  if (error == m3Err_trapIntegerOverflow) return WASM3_INTEGER_OVERFLOW;
  if (error == m3Err_trapTableIndexOutOfRange || error == m3Err_trapTableElementIsNull)
    return WASM3_UNDEFINED_ELEMENT;
  if (error == m3Err_trapIndirectCallTypeMismatch) return WASM3_SIGNATURE_MISMATCH;
  if (error == m3Err_trapOutOfBoundsMemoryAccess) return WASM3_OUT_OF_BOUNDS;
  fprintf(stderr, "runner: wasm3: %s\n", error);
  exit(2);
}

status engine_call(u32 module, u32 number, const u64 *arguments, u64 *result) {
  IM3Function function = instances[module].exports[number];
  const void *pointers[8];
  for (u32 i = 0; i < 8; i++) pointers[i] = &arguments[i];
  M3Result error = m3_Call(function, function->funcType->numArgs, pointers);
  const void *results[] = {result};
  if (!error && function->funcType->numRets) must("result", m3_GetResults(function, 1, results));
  return status_of(error);
}
