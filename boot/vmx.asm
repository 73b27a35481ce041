; VT-x: entering the guest and what happens when it exits (SDM Vol. 3C 27, VM Entries, and 28, VM Exits).
; HOST_RSP is the end of the vCPU's Gprs, so the stub stores the registers by pushing them; interrupts are off and
; faults have stacks of their own, so nothing else is ever pushed there.

%include "layout.inc"
%include "boot/gprs.inc"

EXIT_REASON       equ 0x4402
EXIT_INTERRUPTION equ 0x4404
INSTRUCTION_ERROR equ 0x4400

section .text
bits 64
extern enter_monitor, leave_to_root, leave_by_monitor, monitor_vmx_enter, monitor_vmx_exit
global vmx_run_vcpu, vmx_debug_stub, vmx_exit_stub

%macro RESTORE 0
  mov rsp, [gs:RUNNING_GPRS]
  pop rax
  POP_GPRS
%endmacro

; In: rdi = VcpuContext. Returns a Leave in eax.
vmx_run_vcpu:
  call enter_monitor
  sti
  call monitor_vmx_enter
  cli
  test eax, eax
  jnz leave_by_monitor
  cmp dword [gs:PERCPU_ATTENTION], 0
  jne attention
  cmp dword [gs:RUNNING_LAUNCHED], 0
  jne resume
  mov dword [gs:RUNNING_LAUNCHED], 1
  RESTORE
  vmlaunch
  jmp entry_failed

; HOST_RIP where there is a debugger: exits turn breakpoints off (SDM Vol. 3C 28.5.1). What is pushed is stored over.
vmx_debug_stub:
  push rax
  mov rax, [gs:PERCPU_HOST_DR7]
  mov dr7, rax
  pop rax
align 16
vmx_exit_stub:
  PUSH_GPRS
  push rax
  mov eax, EXIT_REASON
  vmread rsi, rax
  mov rsp, [gs:RUNNING_STACK]
  inc qword [gs:PERCPU_EXITS]
  mov edi, [gs:RUNNING_VCPU]
  test esi, esi                 ; exception or NMI
  jz host_event
to_monitor:                     ; an external interrupt is let in here: its stub says whose it is
  sti
  call monitor_vmx_exit
  cli
  test eax, eax
  jnz leave_by_monitor
  cmp dword [gs:PERCPU_ATTENTION], 0
  jne attention
resume:
  RESTORE
  vmresume

entry_failed:                   ; VMfail: the VMCS says why, if there is a current one
  mov rsp, [gs:RUNNING_STACK]
  mov eax, INSTRUCTION_ERROR
  xor ecx, ecx
  vmread rcx, rax
  mov [gs:PERCPU_INSTRUCTION_ERROR], ecx
  mov eax, LEAVE_ENTRY_FAILED
  jmp leave_to_root

attention:
  mov eax, LEAVE_INTERRUPT
  test byte [gs:PERCPU_ATTENTION], ATTENTION_ROOT
  jnz leave_to_root
  cmp dword [gs:RUNNING_LAUNCHED], 0
  je leave_to_root              ; before the first entry the way below ends in one that is not allowed yet
  mov qword [gs:PERCPU_STRUCK], 0 ; and the attention: the monitor had come back
  mov esi, 1                    ; the guest's: as an external interrupt
  mov edi, [gs:RUNNING_VCPU]
  jmp to_monitor

; NMIs and machine checks are the host's.
host_event:
  mov ecx, EXIT_INTERRUPTION
  vmread rdx, rcx
  mov eax, LEAVE_NMI
  mov ecx, edx
  and ecx, 0x7ff                ; type and vector
  cmp ecx, 0x202
  je leave_to_root
  mov eax, LEAVE_MACHINE_CHECK
  cmp ecx, 0x312
  je leave_to_root
  jmp to_monitor
