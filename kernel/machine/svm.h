#include "types.h"

extern u32 svm_run_vcpu(void *context);

INTRINSIC u32 svm_runVcpu(u32 context) { return svm_run_vcpu(LINEAR(void, context)); }
INTRINSIC void svm_setFlush(u32 control) { PERCPU(u32, PERCPU_FLUSH) = control; }
