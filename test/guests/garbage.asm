; Executes garbage: the 8 KiB at the label payload, which a test fills in (test/boot/garbage.ts). MODE says in which mode:
;
;   0  64-bit, ring 0     1  64-bit, ring 3     2  32-bit protected, ring 0     3  real
;   4  64-bit, ring 0, without an IDT: the first exception is a triple fault
;
; In the others an exception handler goes on one byte behind where it happened, so that one bad instruction does not end
; the run.

%include "bzimage.inc"

%ifndef MODE
%define MODE 0
%endif
PAYLOAD      equ 8192
ERROR_CODES  equ 0x227d00       ; vectors that push an error code: 8, 10 to 14, 17, 21
REAL_CODE    equ 0x7c00
REAL_PAYLOAD equ 0x8000

main:
  lgdt [gdt_pointer]
  ; A guest that changes rings, or enters virtual-8086 mode, without a task register of its own ends QEMU, natively too.
  mov qword [tss + 4], ring0_top
  mov rax, tss
  mov [gdt + 0x30 + 2], ax
  shr rax, 16
  mov [gdt + 0x30 + 4], al
  mov ax, 0x30
  ltr ax
%if MODE == 0 || MODE == 1
  xor ecx, ecx
  mov rdi, idt
.gate:
  mov rax, skip_byte
  mov rdx, skip_error
  mov r8d, ERROR_CODES
  bt r8d, ecx
  cmovc rax, rdx
  mov [rdi], ax
  mov word [rdi + 2], 0x10
  mov word [rdi + 4], 0x8e00
  shr rax, 16
  mov [rdi + 6], ax
  mov qword [rdi + 8], 0
  add rdi, 16
  inc ecx
  cmp ecx, 32
  jb .gate
  lidt [idt_pointer]
%elif MODE == 4
  lidt [no_idt]
%endif

%if MODE == 0 || MODE == 4
  mov rsp, scratch_top
  jmp payload

%elif MODE == 1
  ; The first 2 MiB become the user's: this level's entry, and the two above.
  mov rbx, cr3
  mov ecx, 3
.user:
  or qword [rbx], 4
  mov rbx, [rbx]
  and rbx, ~0xfff
  loop .user
  mov rax, cr3
  mov cr3, rax
  push 0x2b
  push scratch_top
  push 0x3202                   ; IOPL 3, interrupts on
  push 0x23
  push payload
  iretq

%else
  ; Down to 32-bit protected mode without paging.
  mov rsp, scratch_top
  push 0x08
  push protected
  retfq
bits 32
protected:
  mov eax, 0x18
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov eax, cr0
  and eax, 0x7fffffff
  mov cr0, eax
  mov ecx, 0xc0000080
  rdmsr
  and eax, ~0x100
  wrmsr
%endif

%if MODE == 2
  xor ecx, ecx
  mov edi, idt
.gate32:
  mov eax, skip_byte32
  mov edx, ERROR_CODES
  bt edx, ecx
  jnc .plain
  mov eax, skip_error32
.plain:
  mov [edi], ax
  mov word [edi + 2], 0x08
  mov word [edi + 4], 0x8e00
  shr eax, 16
  mov [edi + 6], ax
  add edi, 8
  inc ecx
  cmp ecx, 32
  jb .gate32
  lidt [idt32_pointer]
  mov esp, scratch_top
  jmp payload
skip_error32:
  add esp, 4
skip_byte32:
  inc dword [esp]
  iretd

%elif MODE == 3
  ; 16-bit code and the payload go below 1 MiB; every vector goes to the handler there.
  mov esi, sixteen
  mov edi, REAL_CODE
  mov ecx, sixteen_end - sixteen
  rep movsb
  mov esi, payload
  mov edi, REAL_PAYLOAD
  mov ecx, PAYLOAD
  rep movsb
  xor edi, edi
  mov eax, REAL_CODE + skip_byte16 - sixteen
  mov ecx, 256
  rep stosd
  jmp 0x40:REAL_CODE
bits 16
sixteen:
  mov ax, 0x48
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov fs, ax
  mov gs, ax
  lidt [REAL_CODE + real_idt - sixteen]
  mov eax, cr0
  and al, 0xfe
  mov cr0, eax
  jmp 0:REAL_CODE + real - sixteen
real:
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov sp, 0x7000
  sti
  jmp 0:REAL_PAYLOAD
skip_byte16:
  push bp
  mov bp, sp
  inc word [bp + 2]
  pop bp
  iret
real_idt:
  dw 0x3ff
  dd 0
sixteen_end:
%endif
bits 64

skip_error:
  add rsp, 8
skip_byte:
  inc qword [rsp]
  iretq

align 16
gdt:
  dq 0
  dq 0x00cf9b000000ffff         ; 08: 32-bit code
  dq 0x00af9b000000ffff         ; 10: 64-bit code
  dq 0x00cf93000000ffff         ; 18: data
  dq 0x00affb000000ffff         ; 20: 64-bit user code
  dq 0x00cff3000000ffff         ; 28: user data
  dq 0x0000890000000067, 0      ; 30: TSS
  dq 0x00009b000000ffff         ; 40: 16-bit code
  dq 0x000093000000ffff         ; 48: 16-bit data
gdt_end:
gdt_pointer:
  dw gdt_end - gdt - 1
  dq gdt
idt_pointer:
  dw 32 * 16 - 1
  dq idt
idt32_pointer:
  dw 32 * 8 - 1
  dd idt
no_idt:
  dw 0
  dq 0
align 16, db 0
tss: times 26 dd 0
align 16, db 0
idt: times 32 * 16 db 0
  times 4096 db 0
ring0_top:
  times 4096 db 0
scratch_top:
align 4096, db 0
payload: times PAYLOAD db 0x90
%include "bzimage-end.inc"
