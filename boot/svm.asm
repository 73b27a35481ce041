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
  mov rax, [rdi + RUNNING_VMCB]
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
  mov rsp, [gs:RUNNING_GPRS]
  mov rcx, [gs:RUNNING_CONTROL]
  mov rax, [gs:RUNNING_VMCB]
  pop rdx
  mov [rcx + VMCB_RAX], rdx
  POP_GPRS
  vmload    
  vmrun                         ; leaves with RAX and RSP as they are here
  vmsave    
  lea rax, [rax + 4096]
  vmload    
  PUSH_GPRS
  mov rcx, [gs:RUNNING_CONTROL]
  push qword [rcx + VMCB_RAX]
  mov rsp, [gs:RUNNING_STACK]
  mov rdx, [gs:PERCPU_HOST_DR7] ; 0 without a debugger; #VMEXIT turns breakpoints off (15.6)
  test rdx, rdx
  jz no_breakpoints
  mov dr7, rdx
no_breakpoints:
  mov esi, [rcx + VMCB_EXITCODE]
  mov byte [rcx + VMCB_TLB_CONTROL], 0
  mov dword [rcx + VMCB_CLEAN], -1 ; the CPU has what is there now: whoever changes a field says so
  inc qword [gs:PERCPU_EXITS]
  mov edi, [gs:RUNNING_VCPU]
  cmp esi, EXIT_NMI
  je nmi
  cmp esi, EXIT_MC
  je machine_check
to_monitor:                     ; an interrupt comes in here: its stub says whose it is
  stgi
  call monitor_svm_exit
  jmp decide

by_monitor:
  cli
  jmp leave_by_monitor

; NMIs and machine checks are the host's.
nmi:
  mov eax, LEAVE_NMI
  jmp to_root
machine_check:
  mov eax, LEAVE_MACHINE_CHECK
  jmp to_root
attention:
  mov eax, LEAVE_INTERRUPT
  test byte [gs:PERCPU_ATTENTION], ATTENTION_ROOT
  jnz to_root
  mov qword [gs:PERCPU_STRUCK], 0 ; and the attention: the monitor had come back
  mov esi, EXIT_INTR            ; the guest's: as an interrupt
  mov edi, [gs:RUNNING_VCPU]
  jmp to_monitor
to_root:
  cli
  stgi
  jmp leave_to_root
