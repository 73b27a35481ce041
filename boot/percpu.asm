; What every CPU has: its block, descriptor tables and interrupt stacks, mapped in every address space, and the
; stubs that its vectors enter. A stub only records and switches; reports are TypeScript in root.

%include "layout.inc"
%include "boot/selectors.inc"

extern leave_to_root, root_trap, raw_print
global percpu_block, percpu_prepare, percpu_tss, percpu_gdt, percpu_idt, msr_exists

IST_FAULT   equ 1               ; exceptions
IST_NMI     equ 2
IST_MACHINE equ 3               ; machine checks
IST_IRQ     equ 4
STACK       equ 4096
STUB_SIZE   equ 16

section .text
bits 64

; In: rdi = percpu_block. Loads GDT, IDT, TSS and GS. Changes rax, rcx, rdx, rsi.
percpu_prepare:
  lea rax, [rel percpu_tss]
  mov ecx, 103                  ; limit
  mov [rel percpu_gdt + SEL_TSS], ecx
  mov [rel percpu_gdt + SEL_TSS + 2], ax
  shr rax, 16
  mov [rel percpu_gdt + SEL_TSS + 4], al
  mov byte [rel percpu_gdt + SEL_TSS + 5], 0x89
  mov [rel percpu_gdt + SEL_TSS + 7], ah
  shr rax, 16
  mov [rel percpu_gdt + SEL_TSS + 8], rax

  lea rsi, [rel stubs]
  lea rdx, [rel percpu_idt]
  xor ecx, ecx
.gate:                          ; SDM Vol. 3A 6.14.1, 64-Bit Mode IDT
  mov rax, rsi
  mov [rdx], ax
  mov word [rdx + 2], SEL_CODE
  mov word [rdx + 4], 0x8e00 | IST_IRQ
  cmp ecx, 32
  jae .offset
  mov byte [rdx + 4], IST_FAULT
  cmp ecx, 2
  jne .machine
  mov byte [rdx + 4], IST_NMI
.machine:
  cmp ecx, 18
  jne .offset
  mov byte [rdx + 4], IST_MACHINE
.offset:
  shr rax, 16
  mov [rdx + 6], ax
  shr rax, 16
  mov [rdx + 8], eax
  mov dword [rdx + 12], 0
  add rsi, STUB_SIZE
  add rdx, 16
  inc ecx
  cmp ecx, 256
  jb .gate

  lgdt [rel gdt_pointer]
  lidt [rel idt_pointer]
  xor eax, eax
  mov fs, eax
  mov gs, eax
  mov eax, SEL_TSS
  ltr ax
  mov rax, rdi
  mov rdx, rdi
  shr rdx, 32
  mov ecx, 0xc0000101           ; IA32_GS_BASE
  wrmsr
  ret

; One stub a vector: [rsp] = vector, [rsp + 8] = error code (0 where the CPU pushes none).
%macro FAULT_STUB 1
  align STUB_SIZE, int3
  %if !(%1 == 8 || (%1 >= 10 && %1 <= 14) || %1 == 17 || %1 == 21 || %1 == 29 || %1 == 30)
  push 0
  %endif
  push %1
  jmp strict near fault
%endmacro

align STUB_SIZE, int3
stubs:
%assign vector 0
%rep 32
  %if vector == 2
  align STUB_SIZE, int3
  inc dword [gs:PERCPU_NMIS]
  jmp nmi
  %else
  FAULT_STUB vector
  %endif
  %assign vector vector + 1
%endrep
%rep 224
  align STUB_SIZE, int3
  push strict dword vector
  jmp strict near interrupt
  %assign vector vector + 1
%endrep
  align STUB_SIZE, int3

nmi:
  mov dword [gs:PERCPU_ATTENTION], 1
  iretq

; A device or the timer. Device interrupts get their EOI when root has served them, so that none comes again before;
; the timer, of the highest priority, gets through meanwhile and does the watching.
interrupt:
  push rax
  push rcx
  push rdx
  mov eax, [rsp + 24]
  movzx eax, al
  bts [gs:PERCPU_PENDING0], rax
  mov dword [gs:PERCPU_ATTENTION], 1
  cmp eax, VECTOR_TIMER
  je .timer
.return:
  pop rdx
  pop rcx
  pop rax
  add rsp, 8
  iretq

.timer:
  mov qword [gs:PERCPU_ARMED], -1
  call timer_eoi
  cmp dword [gs:PERCPU_IN_MONITOR], 0
  je .return
  mov rax, [gs:PERCPU_EXITS]
  cmp rax, [gs:PERCPU_STRUCK_AT]
  je .strike
  mov [gs:PERCPU_STRUCK_AT], rax
  mov dword [gs:PERCPU_STRUCK], 0
.strike:
  inc dword [gs:PERCPU_STRUCK]
  cmp dword [gs:PERCPU_STRUCK], STRIKES
  jae .kill
  call timer_watchdog
  jmp .return
.kill:                          ; this monitor does not come back
  pop rdx
  pop rcx
  pop rax
  mov dword [rsp], VECTOR_TIMER
  push qword [rsp]
  mov qword [rsp + 8], 0        ; as a fault without an error code
  call record
  mov eax, LEAVE_KILLED
  jmp leave_to_root

timer_eoi:
  cmp dword [gs:PERCPU_X2APIC], 0
  je .page
  mov ecx, 0x80b
  xor eax, eax
  xor edx, edx
  wrmsr
  ret
.page:
  mov rax, APIC_PAGE
  mov dword [rax + 0xb0], 0
  ret

timer_watchdog:
  cmp qword [gs:PERCPU_TIMER_SCALE], 0
  jne .counts
  rdtsc
  shl rdx, 32
  or rax, rdx
  add rax, [gs:PERCPU_WATCHDOG]
  mov rdx, rax
  shr rdx, 32
  mov ecx, 0x6e0                ; IA32_TSC_DEADLINE
  wrmsr
  ret
.counts:
  mov rax, [gs:PERCPU_WATCHDOG]
  mul qword [gs:PERCPU_TIMER_SCALE]
  shrd rax, rdx, 32
  cmp dword [gs:PERCPU_X2APIC], 0
  je .page
  xor edx, edx
  mov ecx, 0x838                ; initial count
  wrmsr
  ret
.page:
  mov rdx, APIC_PAGE
  mov [rdx + 0x380], eax
  ret

; In: edi = number of an MSR. Returns in eax whether RDMSR takes it.
msr_exists:
  mov ecx, edi
.probe:
  rdmsr
  mov eax, 1
  ret
.absent:
  xor eax, eax
  ret

; An exception in the host: record it, then leave the monitor that caused it, or panic if it was root.
fault:
  cmp qword [rsp + 16], msr_exists.probe
  je .no_msr
  call record
  mov eax, LEAVE_TRAP
  cmp dword [gs:PERCPU_IN_MONITOR], 0
  jne leave_to_root
  inc dword [gs:PERCPU_CRASH_DEPTH]
  cmp dword [gs:PERCPU_CRASH_DEPTH], 1
  ja .twice
  cld
  mov rsp, panic_stack_top
  call root_trap
.no_msr:
  mov qword [rsp + 16], msr_exists.absent
  add rsp, 16
  iretq
.twice:                         ; the report itself faulted
  call raw_print
.halt:
  cli
  hlt
  jmp .halt

%macro RECORD 2-*
  %assign place PERCPU_CRASH + %1
  %rep %0 - 1
    %rotate 1
    mov [gs:place], %1
    %assign place place + 8
  %endrep
%endmacro

; In: behind the return address a vector, an error code and the CPU's frame. Fills the crash record.
record:
  RECORD GPRS_RAX, rax, rcx, rdx, rbx
  RECORD GPRS_RBP, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
  mov eax, [rsp + 8]
  mov [gs:PERCPU_CRASH + CRASHRECORD_VECTOR], eax
  mov eax, [rsp + 16]
  mov [gs:PERCPU_CRASH + CRASHRECORD_ERROR], eax
  mov rax, [rsp + 24]
  mov [gs:PERCPU_CRASH + CRASHRECORD_RIP], rax
  mov rax, [rsp + 32]
  mov [gs:PERCPU_CRASH + CRASHRECORD_CS], rax
  mov rax, [rsp + 40]
  mov [gs:PERCPU_CRASH + CRASHRECORD_RFLAGS], rax
  mov rax, [rsp + 48]
  mov [gs:PERCPU_CRASH + GPRS_RSP], rax
  mov rax, [rsp + 56]
  mov [gs:PERCPU_CRASH + CRASHRECORD_SS], rax
  mov rax, cr2
  mov [gs:PERCPU_CRASH + CRASHRECORD_CR2], rax
  mov rax, cr3
  mov [gs:PERCPU_CRASH + CRASHRECORD_CR3], rax
  ret

section .percpu
align 4096
percpu_block: times PERCPU_SIZE db 0
percpu_gdt: dq 0, DESCRIPTOR_CODE, DESCRIPTOR_DATA, 0, 0
percpu_tss:                     ; SDM Vol. 3A 8.7, Task Management in 64-bit Mode
  dd 0
  dq 0, 0, 0, 0
  dq fault_stack_top, nmi_stack_top, machine_stack_top, irq_stack_top, 0, 0, 0
  dq 0
  dw 0, 104
gdt_pointer:
  dw SEL_TSS + 16 - 1
  dq percpu_gdt
idt_pointer:
  dw 256 * 16 - 1
  dq percpu_idt

section .percpu.bss nobits alloc write align=4096
percpu_idt: resb 256 * 16
fault_stack: resb STACK
fault_stack_top:
nmi_stack: resb STACK
nmi_stack_top:
machine_stack: resb STACK
machine_stack_top:
irq_stack: resb STACK
irq_stack_top:

section .bss
align 4096
panic_stack: resb STACK * 2
panic_stack_top:
