; The last resort: when the panic's own report faults, one raw line on the early log's port.

%include "layout.inc"

section .text
bits 64
extern port
global raw_print

; Prints the crash record's vector, error code, RIP and CR2. Polls a bounded time.
raw_print:
  lea rsi, [rel text]
  call string
  mov eax, [gs:PERCPU_CRASH + CRASHRECORD_VECTOR]
  call hex
  mov eax, [gs:PERCPU_CRASH + CRASHRECORD_ERROR]
  call hex
  mov rax, [gs:PERCPU_CRASH + CRASHRECORD_RIP]
  call hex
  mov rax, [gs:PERCPU_CRASH + CRASHRECORD_CR2]
  call hex
  lea rsi, [rel newline]
string:
  lodsb
  test al, al
  jz .done
  call byte_out
  jmp string
.done:
  ret

hex:                            ; " " and rax in 16 digits
  mov rbx, rax
  mov al, ' '
  call byte_out
  mov r8d, 16
.digit:
  rol rbx, 4
  mov eax, ebx
  and eax, 15
  lea rcx, [rel digits]
  mov al, [rcx + rax]
  call byte_out
  dec r8d
  jnz .digit
  ret

byte_out:
  mov ah, al
  movzx edx, word [port]
  test edx, edx
  jz .done
  add edx, 5
  mov ecx, 100000
.ready:
  in al, dx
  test al, 0x20
  loopz .ready
  sub edx, 5
  mov al, ah
  out dx, al
.done:
  ret

section .rodata
text: db 13, 10, "(tv) panic: a fault within the report: vector, error code, RIP, CR2:", 0
newline: db 13, 10, 0
digits: db "0123456789abcdef"
