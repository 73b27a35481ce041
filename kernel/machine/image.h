#include "types.h"

extern char kernel_start[], text_end[], rodata_end[], percpu_end[], data_end[], kernel_end[];
extern char root_stack_guard[], root_memory[], build_id_note[], trampoline[], percpu_block[], percpu_idt[];

#define IMAGE_SYMBOL(name, symbol)                                                                             \
  INTRINSIC u64 image_##name(void) { return (u64)symbol; }
IMAGE_SYMBOL(start, kernel_start)
IMAGE_SYMBOL(textEnd, text_end)
IMAGE_SYMBOL(readOnlyEnd, rodata_end)
IMAGE_SYMBOL(perCpuEnd, percpu_end)
IMAGE_SYMBOL(dataEnd, data_end)
IMAGE_SYMBOL(end, kernel_end)
IMAGE_SYMBOL(stackGuard, root_stack_guard)
IMAGE_SYMBOL(rootMemory, root_memory)
IMAGE_SYMBOL(perCpu, percpu_block)
IMAGE_SYMBOL(idt, percpu_idt)
IMAGE_SYMBOL(trampoline, trampoline)

INTRINSIC u32 image_version(u32 n) { return n < sizeof TYPEVISOR_VERSION ? TYPEVISOR_VERSION[n] : 0; }

/* The note's header is 16 bytes: sizes, type and "GNU". */
INTRINSIC u32 image_buildId(void) { return __builtin_bswap32(*(u32 *)(build_id_note + 16)); }

extern const u32 monitor_vmx_memory_pages, monitor_vmx_segment_count;
extern const u32 monitor_svm_memory_pages, monitor_svm_segment_count, debug_memory_pages, debug_segment_count;
extern const struct wasm3_segment monitor_vmx_segments[], monitor_svm_segments[], debug_segments[];

#define MODULE(n, what) ((n) == 0 ? monitor_vmx_##what : (n) == 1 ? monitor_svm_##what : debug_##what)
INTRINSIC u32 image_memoryPages(u32 module) { return MODULE(module, memory_pages); }
INTRINSIC u32 image_segments(u32 module) { return MODULE(module, segment_count); }
INTRINSIC u32 image_segmentOffset(u32 module, u32 n) { return MODULE(module, segments)[n].offset; }
INTRINSIC u32 image_segmentLength(u32 module, u32 n) { return MODULE(module, segments)[n].length; }
INTRINSIC u64 image_segmentAddress(u32 module, u32 n) { return (u64)MODULE(module, segments)[n].bytes; }
