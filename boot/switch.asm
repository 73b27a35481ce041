; The way back to root, shared by both vendors' stubs and by the faults.

%include "layout.inc"

section .text
bits 64
global leave_to_root, leave_by_monitor, enter_monitor

; In: rdi = VcpuContext (its fields are copied to where no monitor can write). Saves root's registers on root's
; stack and loads the monitor's address space and the vCPU's stack. Returns on the latter.
enter_monitor:
  pop rax                       ; back to the vendor's run_vcpu
  push rbx
  push rbp
  push r12
  push r13
  push r14
  push r15
  mov [gs:PERCPU_ROOT_STACK], rsp
  mov rcx, [rdi + VCPUCONTEXT_STACK]
  mov [gs:PERCPU_MONITOR_STACK], rcx
  mov rsp, [gs:PERCPU_MONITOR_STACK]
  mov rcx, [rdi + VCPUCONTEXT_GPRS]
  mov [gs:PERCPU_GPRS], rcx
  mov rcx, [rdi + VCPUCONTEXT_RAM_LOW]
  mov [gs:PERCPU_RAM_LOW], rcx
  mov rcx, [rdi + VCPUCONTEXT_RAM_HIGH]
  mov [gs:PERCPU_RAM_HIGH], rcx
  mov rcx, [rdi + VCPUCONTEXT_SLICE_END]
  mov [gs:PERCPU_SLICE_END], rcx
  mov rcx, [rdi + VCPUCONTEXT_VMCB]
  mov [gs:PERCPU_VMCB], rcx
  mov rcx, [rdi + VCPUCONTEXT_CONTROL]
  mov [gs:PERCPU_CONTROL], rcx
  mov ecx, [rdi + VCPUCONTEXT_LAUNCHED]
  mov [gs:PERCPU_LAUNCHED], ecx
  mov ecx, [rdi + VCPUCONTEXT_VCPU]
  mov [gs:PERCPU_VCPU], ecx
  mov rdx, [rdi + VCPUCONTEXT_CR3]
  mov edi, ecx                  ; the monitor's argument
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
  pop r15
  pop r14
  pop r13
  pop r12
  pop rbp
  pop rbx
  ret
