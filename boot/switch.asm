; The way back to root, shared by both vendors' stubs and by the faults.

%include "layout.inc"
%include "boot/gprs.inc"

section .text
bits 64
global leave_to_root, leave_by_monitor, enter_monitor

; In: rdi = VcpuContext (its fields are copied to where no monitor can write). Saves root's registers on root's
; stack and loads the monitor's address space and the vCPU's stack. Returns on the latter.
enter_monitor:
  pop rax                       ; back to the vendor's run_vcpu
  PUSH rbx, rbp, r12, r13, r14, r15
  mov [gs:PERCPU_ROOT_STACK], rsp
%assign at 0
%rep RUNNING_BYTES / 8
  mov rcx, [rdi + at]
  mov [gs:at], rcx
  %assign at at + 8
%endrep
  mov rsp, [gs:RUNNING_STACK]
  mov rdx, [rdi + VCPUCONTEXT_CR3]
  mov edi, [gs:RUNNING_VCPU]    ; the monitor's argument
  mov dword [gs:PERCPU_STRUCK], 0
  mov dword [gs:PERCPU_IN_MONITOR], 1
  mov cr3, rdx
  jmp rax

; In: eax = what the monitor returned, not Resume. What only the stubs and the faults may say is not a monitor's to say.
leave_by_monitor:
  cmp eax, LEAVE_STOP
  jbe leave_to_root
  mov eax, LEAVE_UNKNOWN

; In: eax = what run_vcpu returns (Leave). Interrupts are off; any stack will do.
leave_to_root:
  cld                           ; a monitor may have been stopped in the middle of a string instruction
  mov rcx, [gs:PERCPU_ROOT_CR3]
  mov cr3, rcx
  mov rsp, [gs:PERCPU_ROOT_STACK]
  mov dword [gs:PERCPU_IN_MONITOR], 0
  POP r15, r14, r13, r12, rbp, rbx
  ret
