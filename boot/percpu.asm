; What every CPU has: its block, descriptor tables and interrupt stacks, mapped in every address space, and the
; stubs that its vectors enter. A stub only records and switches; reports are TypeScript in root.

%include "layout.inc"
%include "boot/gprs.inc"
%include "boot/selectors.inc"

extern percpu_tss_low, percpu_tss_high, leave_to_root, root_trap, raw_print, enter_debugger, timer_eoi, timer_watchdog
global percpu_block, percpu_prepare, percpu_load, percpu_tss, percpu_idt, msr_exists

IST_FAULT   equ 1               ; exceptions
IST_NMI     equ 2
IST_MACHINE equ 3               ; machine checks
IST_IRQ     equ 4
STACK       equ 4096
STUB_SIZE   equ 16

section .text
bits 64

; Of the boot CPU, in: rdi = percpu_block. Makes what is not constant, then as below. Changes rax, rcx, rdx, rsi.
percpu_prepare:
  mov qword [rdi + PERCPU_PANIC_STACK], panic_stack_top
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
.offset:
  shr eax, 16
  mov [rdx + 6], ax
  add rsi, STUB_SIZE
  add rdx, 16
  inc ecx
  cmp ecx, 256
  jb .gate
  mov byte [rel percpu_idt + 2 * 16 + 4], IST_NMI
  mov byte [rel percpu_idt + 18 * 16 + 4], IST_MACHINE

; In: rdi = the CPU's block. Loads GDT, IDT, TSS, FS and GS.
percpu_load:
  lgdt [rdi + PERCPU_GDT_POINTER]
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
  mov eax, LINEAR_BASE
  xor edx, edx
  mov ecx, 0xc0000100           ; IA32_FS_BASE: wasm's memory, wherever the page tables have it
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
  mov dword [gs:PERCPU_ATTENTION], ATTENTION_ROOT
  cmp dword [gs:PERCPU_PARKED], 0
  jne fault.halt
  iretq

; A device or the timer. Device interrupts get their EOI when root has served them, so that none comes again before;
; the timer, of the highest priority, gets through meanwhile and does the watching.
interrupt:
  PUSH rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
  mov eax, [rsp + 9 * 8]
  movzx eax, al
  cmp eax, VECTOR_LOOK
  je .look
  bts [gs:PERCPU_PENDING0], rax
  cmp eax, VECTOR_TIMER
  je .timer
  or dword [gs:PERCPU_ATTENTION], ATTENTION_ROOT
.return:
  POP r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax
  add rsp, 8
  iretq

.look:
  mov edx, [gs:RUNNING_ALONE]
  and edx, [gs:PERCPU_IN_MONITOR]
  lea edx, [rdx + rdx * 2 + 1]  ; ATTENTION_ROOT or ATTENTION_LOOK
  or [gs:PERCPU_ATTENTION], edx
  cld
  call timer_eoi
  jmp .return

.timer:                         ; before the slice's end it is the guest's, if its monitor's address space is there
  mov rdx, [gs:PERCPU_ARMED]
  mov qword [gs:PERCPU_ARMED], -1
  cmp rdx, [gs:RUNNING_SLICE_END]
  sbb edx, edx
  and edx, [gs:PERCPU_IN_MONITOR]
  inc edx                       ; ATTENTION_ROOT or ATTENTION_TIMER
  or [gs:PERCPU_ATTENTION], edx
  cld
  call timer_eoi
  mov edx, [gs:PERCPU_DEBUG_PORT]
  test edx, edx
  jz .unheard
  add edx, 5                    ; line status: bit 0 says that there is a byte
  in al, dx
  test al, 1
  jnz .heard
.unheard:
  cmp dword [gs:PERCPU_IN_MONITOR], 0
  je .return
  call timer_watchdog
  cmp dword [gs:PERCPU_STRUCK], STRIKES
  jb .return
  jmp .kill
.heard:                         ; the debugger's line
  call timer_watchdog
  mov dword [gs:PERCPU_STRUCK], 0
.kill:                          ; or this monitor does not come back
  POP r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax
  mov dword [rsp], VECTOR_TIMER
  push qword [rsp]
  mov qword [rsp + 8], 0        ; as a fault without an error code
  call record
  mov eax, LEAVE_KILLED
  cmp dword [gs:PERCPU_STRUCK], STRIKES
  jae leave_to_root
  call enter_debugger           ; goes on where the interrupt came
  ud2

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
  cmp dword [gs:PERCPU_IN_DEBUGGER], 0
  jne .twice
  call enter_debugger
  mov eax, LEAVE_TRAP
  cmp dword [gs:PERCPU_IN_MONITOR], 0
  jne leave_to_root
  inc dword [gs:PERCPU_CRASH_DEPTH]
  cmp dword [gs:PERCPU_CRASH_DEPTH], 1
  ja .twice
  cld
  mov rsp, [gs:PERCPU_PANIC_STACK]
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
%assign at 0
%rep 5                          ; RIP, CS, RFLAGS, RSP, SS
  mov rax, [rsp + 24 + at]
  mov [gs:PERCPU_CRASH + CRASHRECORD_RIP + at], rax
  %assign at at + 8
%endrep
  mov rax, [rsp + 48]
  mov [gs:PERCPU_CRASH + GPRS_RSP], rax
  mov rax, cr2
  mov [gs:PERCPU_CRASH + CRASHRECORD_CR2], rax
  mov rax, cr3
  mov [gs:PERCPU_CRASH + CRASHRECORD_CR3], rax
  ret

section .percpu
align 4096
percpu_block: times PERCPU_SIZE db 0
percpu_gdt: dq 0, DESCRIPTOR_CODE, DESCRIPTOR_DATA
  dw 103, percpu_tss_low        ; SDM Vol. 3A 8.2.3, TSS Descriptor in 64-bit Mode
  db percpu_tss_high, 0x89, 0, 0
  dq 0
percpu_tss:                     ; SDM Vol. 3A 8.7, Task Management in 64-bit Mode
  dd 0
  dq 0, 0, 0, 0
  dq fault_stack_top, nmi_stack_top, machine_stack_top, irq_stack_top, 0, 0, 0
  dq 0
  dw 0, 104
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
