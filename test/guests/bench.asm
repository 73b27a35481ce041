; What one exit costs in ticks of the TSC: on Bochs a tick is an instruction. Prints "NAME TICKS" lines, where TICKS is
; of one instruction with its exit, the loop around it taken off.

%include "bzimage.inc"

ROUNDS equ 1000
BATCHES equ 5

; Runs %2 ROUNDS times and prints %1 with the cost of one: of the quickest batch, into which the fewest of the host's
; interrupts fell.
%macro measure 2+
  mov r11, -1
  mov r10d, BATCHES
%%batch:
  call empty_loop
  mov r12, rax
  rdtsc
  shl rdx, 32
  or rax, rdx
  mov r13, rax
  mov r15d, ROUNDS
%%again:
  %2
  dec r15d
  jnz %%again
  rdtsc
  shl rdx, 32
  or rax, rdx
  sub rax, r13
  sub rax, r12
  cmp rax, r11
  cmovb r11, rax
  dec r10d
  jnz %%batch
  mov r14, r11
  say %1, " "
  mov rax, r14
  xor edx, edx
  mov ecx, ROUNDS
  div rcx
  call put_decimal
  call put_newline
%endmacro

; Ticks of the loop itself.
empty_loop:
  rdtsc
  shl rdx, 32
  or rax, rdx
  mov r13, rax
  mov r15d, ROUNDS
.again:
  dec r15d
  jnz .again
  rdtsc
  shl rdx, 32
  or rax, rdx
  sub rax, r13
  ret

; The operations, with what sets their registers up: a few instructions that count as well.
%macro uart_status 0
  mov edx, 0x3fd
  in al, dx
%endmacro
%macro rtc_index 0
  mov al, 10
  out 0x70, al
%endmacro
%macro post_code 0
  out 0x80, al
%endmacro
%macro read_msr 0
  mov ecx, 0x3b
  rdmsr
%endmacro
%macro write_msr 0
  mov ecx, 0x8b
  xor eax, eax
  xor edx, edx
  wrmsr
%endmacro
%macro pit_count 0
  in al, 0x40
%endmacro
%macro pic_mask 0
  in al, 0x21
%endmacro
%macro cpuid_leaf 0
  xor eax, eax
  cpuid
%endmacro
%macro cpuid_prefixed 0
  xor eax, eax
  db 0x66, 0x48
  cpuid
%endmacro
%macro self_ipi 0
  mov eax, IPI_VECTOR
  xor edx, edx
  mov ecx, 0x83f
  wrmsr
%endmacro
%macro apic_eoi 0
  xor eax, eax
  xor edx, edx
  mov ecx, 0x80b
  wrmsr
%endmacro
%macro far_deadline 0
  rdtsc
  inc edx
  mov ecx, 0x6e0
  wrmsr
%endmacro
; Its first byte is the last one of a page; a call and a return come with it.
CROSSING equ 0x1fdfff
%macro cpuid_crossing 0
  xor eax, eax
  call rdi
%endmacro

IPI_VECTOR   equ 0x40
TIMER_VECTOR equ 0x50
TIMER_ROUNDS equ 50
TIMER_WAIT   equ 20000

; In: ecx = number of an MSR, rax = what is written.
write_msr_64:
  mov rdx, rax
  shr rdx, 32
  wrmsr
  ret

; A gate for vector %1 to %2.
%macro gate 2
  mov rax, %2
  mov [idt + %1 * 16], ax
  mov word [idt + %1 * 16 + 2], cs
  mov word [idt + %1 * 16 + 4], 0x8e00
  shr rax, 16
  mov [idt + %1 * 16 + 6], ax
%endmacro

on_timer:
  rdtsc
  shl rdx, 32
  or rax, rdx
  mov [fired], rax
on_ipi:
  xor eax, eax
  xor edx, edx
  mov ecx, 0x80b
  wrmsr
  iretq

; x2APIC mode, with the timer's TSC deadline.
prepare_apic:
  gate IPI_VECTOR, on_ipi
  gate TIMER_VECTOR, on_timer
  lidt [idt_pointer]
  mov eax, 0xfee00d00
  mov ecx, 0x1b
  call write_msr_64
  mov eax, 0x1ff
  mov ecx, 0x80f
  call write_msr_64
  mov eax, TIMER_VECTOR | (2 << 17)
  mov ecx, 0x832
  call write_msr_64
  sti
  ret

; What the guest does until the interrupt has come.
%macro spin 0
  mov rax, [fired]
  test rax, rax
  jz .wait
%endmacro
%macro halt 0
  hlt
  mov rax, [fired]
  test rax, rax
  jz .wait
%endmacro

; %1: prints it, with the ticks from a TSC deadline to the first instruction of its handler: of the quickest of some. Meanwhile: %2.
%macro measure_timer 2
%2_timer:
  mov r11, -1
  mov r10d, TIMER_ROUNDS
.again:
  mov qword [fired], 0
  rdtsc
  shl rdx, 32
  or rax, rdx
  add rax, TIMER_WAIT
  mov r13, rax
  mov ecx, 0x6e0
  call write_msr_64
.wait:
  %2
  sub rax, r13
  cmp rax, r11
  cmovb r11, rax
  dec r10d
  jnz .again
  mov r14, r11
  say %1, " "
  mov rax, r14
  call put_decimal
  call put_newline
%endmacro

align 16, db 0
fired: dq 0
idt_pointer:
  dw 256 * 16 - 1
  dq idt
idt equ 0x180000

main:
  measure "nop", nop
  measure "cpuid", cpuid_leaf
  measure "cpuid-prefixed", cpuid_prefixed
  mov rdi, CROSSING
  mov dword [rdi], 0xc3a20f     ; CPUID, RET
  measure "cpuid-crossing", cpuid_crossing
  measure "uart-status", uart_status
  measure "pic-mask", pic_mask
  measure "rtc-index", rtc_index
  measure "post", post_code
  measure "pit-count", pit_count
  measure "rdmsr", read_msr
  measure "wrmsr", write_msr
  call prepare_apic
  measure "apic-eoi", apic_eoi
  measure "self-ipi", self_ipi
  measure "tsc-deadline", far_deadline
  measure_timer "apic-timer", spin
  measure_timer "halt-timer", halt
  ret

%include "bzimage-end.inc"
