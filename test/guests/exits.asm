; Executes each instruction that exits, or that a hypervisor may get wrong, in ring 0 and in ring 3, and prints for each
; "NAME RING0 RING3": "ok" if the next instruction was reached, else the number of the exception.

%include "bzimage.inc"

CROSSING equ 0x1fdfff           ; the last byte of a page of RAM that is not in use
DONE equ 0x30                   ; the vector that a snippet ends with

%macro snippet 2+
  [section .snippets]
%%code:
  %2
  int DONE
  __?SECT?__
  [section .names]
%%name: db %1, 0
  __?SECT?__
  [section .list]
  dq %%name, %%code
  __?SECT?__
%endmacro
section .list follows=.image vfollows=.image align=16 valign=16
list:
section .names follows=.list vfollows=.list align=16 valign=16
section .snippets follows=.names vfollows=.names align=16 valign=16
section .image

snippet "cpuid", cpuid
%macro prefixed_cpuid 0
  db 0x66, 0xf3, 0x2e, 0x48     ; operand size, REP, CS, REX.W: none of them means anything here
  cpuid
%endmacro
snippet "cpuid-prefixed", prefixed_cpuid
%macro crossing_cpuid 0
  mov rdi, CROSSING
  mov dword [rdi], 0xc3a20f     ; CPUID, RET
  call rdi
%endmacro
snippet "cpuid-crossing", crossing_cpuid
snippet "getsec", getsec
snippet "invd", invd
snippet "wbinvd", wbinvd
snippet "vmcall", vmcall
snippet "vmclear", vmclear [scratch]
snippet "vmlaunch", vmlaunch
snippet "vmresume", vmresume
snippet "vmptrld", vmptrld [scratch]
snippet "vmptrst", vmptrst [scratch]
snippet "vmread", vmread rax, rbx
snippet "vmwrite", vmwrite rax, rbx
snippet "vmxon", vmxon [scratch]
snippet "vmxoff", vmxoff
snippet "vmfunc", vmfunc
snippet "invept", invept rax, [scratch]
snippet "invvpid", invvpid rax, [scratch]
snippet "vmmcall", vmmcall
snippet "vmrun", vmrun
snippet "vmload", vmload
snippet "stgi", stgi
snippet "skinit", skinit
snippet "encls", db 0x0f, 0x01, 0xcf
snippet "monitor", monitor
snippet "mwait", mwait
snippet "rsm", rsm
snippet "xsaves", xsaves [scratch]
snippet "rdpmc", rdpmc
snippet "rdtsc", rdtsc
snippet "rdtscp", rdtscp
snippet "pause", pause
%macro set_msr_number 1
  mov ecx, %1
  xor eax, eax
  xor edx, edx
%endmacro
%macro read_msr 1
  set_msr_number %1
  rdmsr
%endmacro
%macro write_msr 1
  set_msr_number %1
  wrmsr
%endmacro
snippet "rdmsr-efer", read_msr 0xc0000080
snippet "rdmsr-unknown", read_msr 0x12345678
snippet "wrmsr-tsc-aux", write_msr 0xc0000103
snippet "wrmsr-unknown", write_msr 0x480
snippet "wrmsr-apic-base", write_msr 0x1b
%macro set_xcr0 1
  xor ecx, ecx
  xor edx, edx
  mov eax, %1
  xsetbv
%endmacro
snippet "xsetbv", set_xcr0 1
snippet "xsetbv-bad", set_xcr0 0
%macro read_xcr0 0
  xor ecx, ecx
  xgetbv
%endmacro
snippet "xgetbv", read_xcr0
snippet "in", in al, 0x80
snippet "out", out 0x80, al
%macro in_string 0
  mov edx, 0x80
  mov rdi, scratch
  insb
%endmacro
snippet "insb", in_string
snippet "mov-from-cr0", mov rax, cr0
%macro same_cr 1
  mov rax, [saved_%1]
  mov %1, rax
%endmacro
snippet "mov-to-cr0", same_cr cr0
snippet "mov-to-cr3", same_cr cr3
snippet "mov-to-cr4", same_cr cr4
%macro bad_cr4 0
  mov rax, [saved_cr4]
  or rax, 1 << 13               ; VMXE
  mov cr4, rax
%endmacro
snippet "mov-to-cr4-vmxe", bad_cr4
%macro bad_cr0 0
  mov rax, [saved_cr0]
  btr rax, 0                    ; PG without PE
  mov cr0, rax
%endmacro
snippet "mov-to-cr0-pg-without-pe", bad_cr0
snippet "mov-from-cr8", mov rax, cr8
%macro set_cr8 1
  mov eax, %1
  mov cr8, rax
%endmacro
snippet "mov-to-cr8", set_cr8 3
snippet "mov-to-cr8-bad", set_cr8 16
snippet "clts", clts
%macro lmsw_same 0
  smsw ax
  lmsw ax
%endmacro
snippet "lmsw", lmsw_same
snippet "mov-from-dr6", mov rax, dr6
%macro set_dr7 0
  mov eax, 0x400
  mov dr7, rax
%endmacro
snippet "mov-to-dr7", set_dr7
snippet "invlpg", invlpg [scratch]
%macro invalidate_pcid 1
  mov eax, %1
  invpcid rax, [scratch]
%endmacro
snippet "invpcid", invalidate_pcid 2
snippet "invpcid-bad", invalidate_pcid 4
snippet "sgdt", sgdt [scratch]
%macro load_gdt 0
  sgdt [scratch + 32]
  lgdt [scratch + 32]
%endmacro
snippet "lgdt", load_gdt
snippet "sti", sti
snippet "int3", int3
snippet "int1", db 0xf1
snippet "ud2", ud2
snippet "syscall", syscall
%macro unclaimed 1+
  mov ebx, 0xd0000000
  %1
%endmacro
snippet "load-unclaimed", unclaimed mov rax, [rbx]
snippet "store-unclaimed", unclaimed mov [rbx], rax

%macro gate 2                   ; vector, handler
  mov rax, %2
  mov [idt + %1 * 16], ax
  mov word [idt + %1 * 16 + 2], 0x10
  mov word [idt + %1 * 16 + 4], 0xee00
  shr rax, 16
  mov [idt + %1 * 16 + 6], ax
%endmacro

main:
  lgdt [gdt_pointer]
%assign vector 0
%rep 32
  gate vector, handler_ %+ vector
%assign vector vector + 1
%endrep
  gate DONE, handler_done
  lidt [idt_pointer]
  mov qword [tss + 4], ring0_top
  mov word [tss + 102], 104     ; the I/O permission map is beyond the limit
  mov rax, tss
  mov [gdt + 0x30 + 2], ax
  shr rax, 16
  mov [gdt + 0x30 + 4], al
  mov ax, 0x30
  ltr ax
  ; The first 2 MiB, and the 2 MiB at D0000000h, become the user's: the PML4 and PDPT entries, then the two pages.
  mov rbx, cr3
  or qword [rbx], 4
  mov rbx, [rbx]
  and rbx, ~0xfff
  or qword [rbx], 4
  or qword [rbx + 3 * 8], 4
  mov rcx, [rbx + 3 * 8]
  mov rbx, [rbx]
  and rbx, ~0xfff
  and rcx, ~0xfff
  or qword [rbx], 4
  or qword [rcx + 128 * 8], 4
  mov rax, cr4
  or eax, 1 << 18               ; OSXSAVE
  mov cr4, rax
  mov [saved_cr4], rax
  mov rax, cr3
  mov cr3, rax
  mov [saved_cr3], rax
  mov rax, cr0
  mov [saved_cr0], rax

  mov r12, list
.next:
  mov rsi, [r12]
  call put_string
  xor r13d, r13d                ; ring
.ring:
  mov al, ' '
  call put_byte
  call execute
  call print_result
  add r13d, 3
  cmp r13d, 3
  jbe .ring
  call put_newline
  add r12, 16
  cmp r12, list_end
  jb .next
  say "end", 13, 10
  ret

; Executes the snippet at [r12 + 8] in ring r13; [result] is the vector that ended it.
execute:
  mov [stack_before], rsp
  xor eax, eax
  xor ebx, ebx
  xor ecx, ecx
  xor edx, edx
  mov rdi, scratch
  mov rcx, 32
  rep stosd
  test r13d, r13d
  jnz .user
  jmp [r12 + 8]
.user:
  push 0x2b
  push user_top
  push 2                        ; IOPL 0, interrupts off
  push 0x23
  push qword [r12 + 8]
  iretq

%assign vector 0
%rep 32
handler_ %+ vector:
  mov dword [result], vector
  jmp back
%assign vector vector + 1
%endrep
handler_done:
  mov dword [result], -1
back:
  cli
  cld
  mov rsp, [stack_before]
  mov rax, [saved_cr0]
  mov cr0, rax
  mov eax, 0x18
  mov ss, ax
  mov ds, ax
  mov es, ax
  ret

print_result:
  mov eax, [result]
  test eax, eax
  js .ok
  jmp put_decimal
.ok:
  mov rsi, text_ok
  jmp put_string

text_ok: db "ok", 0
align 16, db 0
gdt:
  dq 0, 0
  dq 0x00af9b000000ffff         ; 10: 64-bit code
  dq 0x00cf93000000ffff         ; 18: data
  dq 0x00affb000000ffff         ; 20: 64-bit user code
  dq 0x00cff3000000ffff         ; 28: user data
  dq 0x0000890000000067, 0      ; 30: TSS, without an I/O permission map
gdt_end:
gdt_pointer:
  dw gdt_end - gdt - 1
  dq gdt
idt_pointer:
  dw 49 * 16 - 1
  dq idt
saved_cr0: dq 0
saved_cr3: dq 0
saved_cr4: dq 0
stack_before: dq 0
result: dd 0
align 16, db 0
tss: times 104 / 4 dd 0
align 64, db 0
scratch: times 1024 db 0
idt: times 49 * 16 db 0
  times 4096 db 0
ring0_top:
  times 4096 db 0
user_top:

section .list
list_end:
section .image
%include "bzimage-end.inc"
