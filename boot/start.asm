; From the boot loader (32-bit protected mode, paging off) to root's TypeScript in long mode.
; Multiboot 0.6.96 section 3 and Multiboot2 2.0 section 3: the machine state at entry.

%include "layout.inc"
%include "boot/selectors.inc"

extern kernel_start, text_end, rodata_end, percpu_end, data_end, root_memory
extern percpu_block, percpu_prepare, percpu_load, root_prepare, root_start, root_join, early_print, early_select
global trampoline

; ---- headers --------------------------------------------------------------------------------------

section .multiboot
align 8
multiboot2_header:
  dd 0xe85250d6, 0, multiboot2_end - multiboot2_header
  dd -(0xe85250d6 + (multiboot2_end - multiboot2_header))
  dw 1, 1                       ; information request, optional:
  dd 8 + 4 * 5
  dd 1, 3, 6, 14, 15            ; command line, modules, memory map, ACPI 1.0 and 2.0 RSDP
  align 8, db 0
  dw 5, 1                       ; framebuffer, optional, of any size:
  dd 20, 0, 0, 0
  align 8, db 0
  dw 6, 0                       ; modules on page boundaries
  dd 8
  dw 0, 0
  dd 8
multiboot2_end:

align 4
multiboot1_header:
  dd 0x1badb002, 3, -(0x1badb002 + 3) ; modules on page boundaries, memory map wanted

; ---- 32-bit entry ---------------------------------------------------------------------------------

section .text
bits 32
global start
start:
  cli
  cld
  mov esp, root_stack_top
  mov ebp, eax                  ; the loader's magic number
  mov edi, ebx                  ; its information
  push edi
  call early_select             ; where the command line wants the log
  pop edi
  mov esi, text_hello
  call early_print

  ; Long mode and NX, or say so. SDM Vol. 2A, CPUID, which every CPU of this century has.
  mov esi, text_no_long_mode
  mov eax, 0x80000000
  cpuid
  cmp eax, 0x80000001
  jb early_halt
  mov eax, 0x80000001
  cpuid
  test edx, 1 << 29
  jz early_halt
  mov esi, text_no_nx
  test edx, 1 << 20
  jz early_halt

  ; Page tables (the BSS is zero): the image as its sections say, root's memory, and the first 4 GiB of
  ; physical memory for root to build the final tables with.
  mov dword [pml4], pdpt_low + 3
  mov dword [pml4 + 8 * ((PHYSICAL_WINDOW >> 39) & 511)], pdpt_window + 3
  mov dword [pdpt_low], pd_image + 3
  mov dword [pdpt_low + 8 * (LINEAR_BASE >> 30)], pd_root + 3
  mov dword [pd_image + 8 * (IMAGE_BASE >> 21)], pt_image + 3
  mov eax, root_memory
  or eax, 0x83                  ; present, writable, 2 MiB
  mov [pd_root], eax
  mov dword [pd_root + 4], NX_HIGH

  mov eax, kernel_start
.image_page:
  mov ecx, eax
  sub ecx, IMAGE_BASE
  shr ecx, 12
  lea ecx, [pt_image + ecx * 8]
  mov edx, NX_HIGH
  lea ebx, [eax + 3]            ; data: present, writable, no execute
  cmp eax, rodata_end
  jae .store
  and ebx, ~2                   ; read-only
  cmp eax, text_end
  jae .store
  xor edx, edx                  ; executable
.store:
  cmp eax, root_stack_guard
  je .next
  mov [ecx], ebx
  mov [ecx + 4], edx
.next:
  add eax, 4096
  cmp eax, data_end
  jb .image_page

  mov ecx, 4
  mov eax, pd_window + 3
  mov ebx, pdpt_window
.directory:
  mov [ebx], eax
  add eax, 4096
  add ebx, 8
  loop .directory
  mov ecx, 2048
  mov eax, 0x83
  mov ebx, pd_window
.window:
  mov [ebx], eax
  mov dword [ebx + 4], NX_HIGH
  add eax, 0x200000
  add ebx, 8
  loop .window

to_long_mode:                   ; every CPU
  mov eax, pml4
  mov cr3, eax
  mov eax, cr4
  or eax, 1 << 5                ; PAE
  mov cr4, eax
  mov ecx, 0xc0000080           ; IA32_EFER
  rdmsr
  or eax, (1 << 8) | (1 << 11)  ; LME, NXE
  wrmsr
  mov eax, cr0
  or eax, (1 << 31) | (1 << 16) | (1 << 5) | 1 ; PG, WP, NE, PE
  and eax, ~((1 << 30) | (1 << 29) | (1 << 2) | (1 << 3)) ; caches on; no EM, no TS
  mov cr0, eax
  lgdt [cs:early_gdt_pointer]   ; a CPU from the trampoline has no DS yet
  jmp SEL_CODE:.long_mode

bits 64
.long_mode:
  mov eax, SEL_DATA
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov ebp, ebp                  ; the upper halves are undefined after the switch
  mov ebx, edi
  mov rdi, [rel percpu_block + PERCPU_JOINING]
  test rdi, rdi
  jnz .processor
  mov rsp, root_stack_top
  mov rdi, percpu_block
  call percpu_prepare           ; GDT, IDT, TSS, GS
  call root_prepare             ; root's linear memory
  mov edi, ebp
  mov esi, ebx
  call root_start
  jmp .halt
.processor:                     ; not the boot CPU: root has made its block and its stack
  mov rax, [rel percpu_block + PERCPU_ROOT_CR3]
  mov cr3, rax
  mov rsp, [rdi + PERCPU_ROOT_STACK]
  call percpu_load
  call root_join
.halt:
  cli
  hlt
  jmp .halt

bits 32
early_halt:
  call early_print
.halt:
  hlt
  jmp .halt

NX_HIGH equ 1 << 31

section .rodata
text_hello: db "(tv) Typevisor starts", 13, 10, 0
text_no_long_mode: db "(tv) refused: long mode: not offered by this CPU", 13, 10, 0
text_no_nx: db "(tv) refused: no-execute pages: not offered by this CPU", 13, 10, 0

align 8
early_gdt: dq 0, DESCRIPTOR_CODE, DESCRIPTOR_DATA, DESCRIPTOR_CODE32

; Where a CPU starts upon a SIPI, in real mode (SDM Vol. 3A 9.4, Multiple-Processor (MP) Initialization): TRAMPOLINE_BYTES
; of this are copied to the start of a page below 1 MiB, and CS:0 is there.
bits 16
trampoline:
  cli
  lgdt [cs:early_gdt_pointer - trampoline]
  mov ax, 1                     ; PE
  lmsw ax
  jmp dword SEL_CODE32:to_long_mode
early_gdt_pointer:
  dw 8 * 4 - 1
  dd early_gdt

section .bss
align 4096
pml4: resb 4096
pdpt_low: resb 4096
pd_image: resb 4096
pt_image: resb 4096
pd_root: resb 4096
pdpt_window: resb 4096
pd_window: resb 4096 * 4
global root_stack_guard
root_stack_guard: resb 4096
root_stack: resb 4096 * 4
global root_stack_top
root_stack_top:
