/* wasm2c's C as one file with what it imports, so that gcc inlines that here too. Its memory is where the others have
 * theirs, and it counts on guard pages, which is its quickest form. */
#include "machine.h"
#include "wasm2c.h"

u64 w2c_vmcs_vmread(struct w2c_vmcs *machine, u32 field) { return (void)machine, vmcs_vmread(field); }
void w2c_vmcs_vmwrite(struct w2c_vmcs *machine, u32 field, u64 value) { (void)machine, vmcs_vmwrite(field, value); }
void w2c_env_abort(struct w2c_env *env, u32 message, u32 file, u32 line, u32 column) {
  (void)env, env_abort(message, file, line, column);
}

#include "kernels.w2c.c"
