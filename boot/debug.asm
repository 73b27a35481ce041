; Entering the debugger (kernel/debug/) and leaving it: the host's state is in the crash record meanwhile.

%include "layout.inc"
%include "boot/gprs.inc"

DR7_OFF equ 0x400

section .text
bits 64
extern percpu_block, debug_stop
global enter_debugger

; In: a crash record. Returns when there is no debugger, and after a fault, which is then handled as ever. Otherwise the host
; goes on where it was, with the registers that the record has now.
enter_debugger:
  mov rax, [gs:PERCPU_DEBUG_CR3]
  test rax, rax
  jz .done
  mov dword [gs:PERCPU_IN_DEBUGGER], 1
  mov ecx, DR7_OFF
  mov dr7, rcx
  mov cr3, rax
  mov rbx, rsp
  mov rsp, STACK_AREA + STACK_SLOT
  mov rdi, [gs:PERCPU_DEBUG_INFO]
  cld
  call debug_stop
  mov rsp, rbx                  ; an interrupt stack: every address space has it
  mov rax, [gs:PERCPU_CRASH + CRASHRECORD_CR3]
  mov cr3, rax
  mov rax, [gs:PERCPU_HOST_DR7]
  mov dr7, rax
  mov dword [gs:PERCPU_IN_DEBUGGER], 0
  mov dword [gs:PERCPU_STRUCK], 0
  mov eax, [gs:PERCPU_CRASH + CRASHRECORD_VECTOR]
  cmp eax, VECTOR_TIMER
  je .resume
  and eax, ~2
  cmp eax, 1                    ; #DB or #BP
  jne .done
.resume:
  mov rax, [gs:PERCPU_CRASH + GPRS_RSP]
  mov [gs:PERCPU_CRASH + CRASHRECORD_FRAME_RSP], rax
  lea rsp, [rel percpu_block + PERCPU_CRASH]
  pop rax
  POP_GPRS
  iretq
.done:
  ret
