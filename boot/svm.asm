; AMD-V: entering the guest and what happens when it exits (APM Vol. 2 15.5, VMRUN Instruction; 15.6, #VMEXIT).
; Monitors run with IF = 1 and GIF = 1. GIF is 0 from the last look at what is pending to the load of the host's state:
; nothing but VMRUN's own events comes through, and before VMLOAD the guest's FS, GS and TR are in the CPU.

%include "layout.inc"
%include "boot/gprs.inc"

VMCB_TLB_CONTROL equ 0x5c
VMCB_EXITCODE    equ 0x70
VMCB_CLEAN       equ 0xc0
VMCB_RAX         equ 0x5f8
EXIT_INTR        equ 0x60
EXIT_NMI         equ 0x61
EXIT_MC          equ 0x40 + 18

section .text
bits 64
extern enter_monitor, leave_to_root, leave_by_monitor, monitor_svm_enter, monitor_svm_exit
global svm_run_vcpu

; In: rdi = VcpuContext. Returns a Leave in eax.
svm_run_vcpu:
  mov rax, [rdi + VCPUCONTEXT_VMCB]
  add rax, 4096
  vmsave                        ; what every exit loads: the host's FS, GS, TR and LDTR
  call enter_monitor
  sti
  call monitor_svm_enter

decide:
  test eax, eax
  jnz by_monitor
  clgi
  cmp dword [gs:PERCPU_ATTENTION], 0
  jne attention
  mov rsp, [gs:PERCPU_GPRS]
  mov rcx, [gs:PERCPU_CONTROL]
  mov rax, [gs:PERCPU_VMCB]
  pop rdx
  mov [rcx + VMCB_RAX], rdx
  POP_GPRS
  vmload    
  vmrun                         ; leaves with RAX and RSP as they are here
  vmsave    
  lea rax, [rax + 4096]
  vmload    
  PUSH_GPRS
  mov rcx, [gs:PERCPU_CONTROL]
  push qword [rcx + VMCB_RAX]
  mov rsp, [gs:PERCPU_MONITOR_STACK]
  mov esi, [rcx + VMCB_EXITCODE]
  mov byte [rcx + VMCB_TLB_CONTROL], 0
  mov dword [rcx + VMCB_CLEAN], -1 ; the CPU has what is there now: whoever changes a field says so
  inc qword [gs:PERCPU_EXITS]
  mov edi, [gs:PERCPU_VCPU]
  lea eax, [rsi - EXIT_INTR]
  cmp eax, EXIT_NMI - EXIT_INTR
  jbe host_event
  cmp esi, EXIT_MC
  je machine_check
  stgi
  call monitor_svm_exit
  jmp decide

by_monitor:
  cli
  jmp leave_by_monitor

; External interrupts, NMIs and machine checks are the host's. Interrupts wait until root lets them in.
host_event:
  mov eax, LEAVE_INTERRUPT
  cmp esi, EXIT_NMI
  jne to_root
  mov eax, LEAVE_NMI
  jmp to_root
machine_check:
  mov eax, LEAVE_MACHINE_CHECK
  jmp to_root
attention:
  mov eax, LEAVE_INTERRUPT
to_root:
  cli
  stgi
  jmp leave_to_root
