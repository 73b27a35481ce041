; Start of the platform tests: a multiboot kernel without a format, from 32-bit protected mode to C in 64-bit mode; the
; stubs of the interrupt descriptor table; the few functions that C cannot say. Linked by guest.ld.

extern main, on_interrupt, load_end, bss_end, idt_pointer
global subject_stubs, page_tables, resume, fault_vector
global safe_read_msr, safe_write_msr, safe_write_cr8, call_subject, abandon_subject
global stack_top, gdt_pointer

section .boot progbits alloc exec write align=16
bits 32
align 4
header:
  dd 0x1badb002, 0x10003, -(0x1badb002 + 0x10003)
  dd header, header, load_end, bss_end, start

start:                          ; EBX: the boot information
  cli
  cld
  ; Identity map of 4 GiB by 2 MiB pages; the last GiB, where the devices are, is not cached.
  mov edi, page_tables
  lea eax, [edi + 0x1000 + 7]
  mov [edi], eax
  mov ecx, 4
  lea edx, [edi + 0x1000]
  lea eax, [edi + 0x2000 + 7]
.directory:
  mov [edx], eax
  add edx, 8
  add eax, 0x1000
  loop .directory
  lea edx, [edi + 0x2000]
  mov eax, 0x87
.page:
  mov [edx], eax
  add edx, 8
  add eax, 0x200000
  cmp eax, 0xc0000087
  jb .page
.device_page:
  or eax, 0x18
  mov [edx], eax
  add edx, 8
  add eax, 0x200000
  jnc .device_page
  mov cr3, edi
  mov eax, cr4
  or eax, 1 << 5 | 3 << 9       ; PAE, OSFXSR, OSXMMEXCPT
  mov cr4, eax
  mov ecx, 0xc0000080
  rdmsr
  or eax, 1 << 8
  wrmsr
  mov eax, cr0
  and eax, ~(3 << 29 | 1 << 2)  ; CD, NW, EM
  or eax, 1 << 31 | 1 << 5 | 1 << 1 | 1
  mov cr0, eax
  lgdt [gdt_pointer]
  jmp 8:.long
bits 64
.long:
  mov eax, 16
  mov ds, eax
  mov es, eax
  mov fs, eax
  mov gs, eax
  mov ss, eax
  mov rsp, stack_top
  mov edi, ebx
  call main
.halt:
  cli
  hlt
  jmp .halt

; Where another processor starts (smp.c copies it to a page below 1 MiB): from real mode to ap_main.
global trampoline, trampoline_end, trampoline_cr3, ap_stack_pointer, ap_first_cs, ap_first_cr0
extern ap_main
bits 16
trampoline:
  cli
  mov ebx, cr0
  ; What is above 1 MiB cannot be reached yet: the copy has the values.
  mov ax, cs
  mov ds, ax
  o32 lgdt [trampoline_gdt - trampoline]
  mov ecx, [trampoline_cr3 - trampoline]
  mov cr3, ecx
  mov ecx, cr4
  or ecx, 1 << 5 | 3 << 9
  mov cr4, ecx
  movzx esi, ax
  mov ecx, 0xc0000080
  rdmsr
  or eax, 1 << 8
  wrmsr
  mov eax, cr0
  and eax, ~(3 << 29 | 1 << 2)
  or eax, 1 << 31 | 1 << 5 | 1 << 1 | 1
  mov cr0, eax
  jmp dword 8:.long
bits 64
.long:
  mov eax, 16
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov rsp, [rel ap_stack_pointer]
  mov [rel ap_first_cs], esi
  mov [rel ap_first_cr0], ebx
  lidt [rel idt_pointer]
  call ap_main
align 8
trampoline_gdt:
  dw gdt_end - gdt - 1
  dd gdt
align 4
trampoline_cr3: dd 0
trampoline_end:

section .text
; Entry n of the interrupt descriptor table is 16 bytes from entry n - 1.
align 16
subject_stubs:
%assign v 0
%rep 256
  align 16
  %if v != 8 && (v < 10 || v > 14) && v != 17 && v != 21 && v != 29 && v != 30
    push 0
  %endif
  push strict dword v
  jmp near to_c
  %assign v v + 1
%endrep

to_c:
  push rax
  push rbx
  push rcx
  push rdx
  push rsi
  push rdi
  push rbp
  push r8
  push r9
  push r10
  push r11
  push r12
  push r13
  push r14
  push r15
  mov rdi, rsp
  cld
  call on_interrupt
  pop r15
  pop r14
  pop r13
  pop r12
  pop r11
  pop r10
  pop r9
  pop r8
  pop rbp
  pop rdi
  pop rsi
  pop rdx
  pop rcx
  pop rbx
  pop rax
  add rsp, 16
  iretq

; An exception between these goes on at %1 (on_interrupt); the function's result is its vector, or 0.
%macro guarded 1
  lea rax, [rel %1]
  mov [rel resume], rax
%endmacro
%macro unguarded 0
  mov qword [rel resume], 0
  xor eax, eax
  ret
%endmacro

; u32 safe_read_msr(u32 index, u64 *value)
safe_read_msr:
  guarded faulted
  mov ecx, edi
  rdmsr
  shl rdx, 32
  or rax, rdx
  mov [rsi], rax
  unguarded

; u32 safe_write_msr(u32 index, u64 value)
safe_write_msr:
  guarded faulted
  mov ecx, edi
  mov rdx, rsi
  mov eax, esi
  shr rdx, 32
  wrmsr
  unguarded

; u32 safe_write_cr8(u64 value)
safe_write_cr8:
  guarded faulted
  mov cr8, rdi
  unguarded

faulted:
  mov eax, [rel fault_vector]
  ret

; bool call_subject(void (*run)(void)): whether it came back by itself.
call_subject:
  push rbx
  push rbp
  push r12
  push r13
  push r14
  push r15
  sub rsp, 8
  mov [rel subject_rsp], rsp
  call rdi
  mov eax, 1
leave_subject:
  add rsp, 8
  pop r15
  pop r14
  pop r13
  pop r12
  pop rbp
  pop rbx
  ret
abandon_subject:
  mov rsp, [rel subject_rsp]
  xor eax, eax
  jmp leave_subject

section .data
align 16
gdt:
  dq 0
  dq 0x00af9b000000ffff         ; 8: 64-bit code
  dq 0x00cf93000000ffff         ; 16: data
gdt_end:
gdt_pointer:
  dw gdt_end - gdt - 1
  dq gdt
ap_stack_pointer: dq 0
ap_first_cs: dd 0
ap_first_cr0: dd 0
resume: dq 0
subject_rsp: dq 0
fault_vector: dd 0

section .bss
align 4096
page_tables: resb 6 * 4096
stack: resb 32768
stack_top:
