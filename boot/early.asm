; The log before there is TypeScript: polled bytes to the UART that the command line's console= names (COM1 when it
; names none) and to the text screen. 32-bit code, paging off.

section .text
bits 32
global early_print, early_select, port

COM1 equ 0x3f8
COM2 equ 0x2f8

; In: ebp = the loader's magic, edi = its information. Finds the command line and looks for "console=".
early_select:
  cmp ebp, 0x36d76289
  je .tags
  cmp ebp, 0x2badb002
  jne .program
  test dword [edi], 1 << 2      ; Multiboot 3.3: cmdline is valid
  jz .program
  mov esi, [edi + 16]
  jmp .scan
.tags:                          ; Multiboot2 3.6: tags of {u32 type, u32 size}, 8-aligned, ended by type 0
  mov ecx, [edi]                ; the size of them all
  add ecx, edi
  add edi, 8
.tag:
  cmp edi, ecx
  jae .program
  cmp dword [edi], 0
  je .program
  lea esi, [edi + 8]
  cmp dword [edi], 1
  je .scan
  mov eax, [edi + 4]
  cmp eax, 8                    ; root says what is wrong with a tag that is smaller, or endless
  jb .program
  add eax, 7
  jc .program
  and eax, ~7
  add edi, eax
  jnc .tag
  jmp .program
.scan:
  mov ah, ' '                   ; the character before
.character:
  lodsb
  test al, al
  jz .program
  cmp ah, ' '
  mov ah, al
  jne .character
  cmp dword [esi - 1], "cons"
  jne .character
  cmp dword [esi + 3], "ole="
  jne .character
  cmp dword [esi + 7], "com2"
  jne .other
  mov word [port], COM2
  jmp .program
.other:
  cmp dword [esi + 7], "com1"
  je .program
  mov word [port], 0
.program:
  movzx edx, word [port]
  test edx, edx
  jz .done
  mov esi, uart_setup
  mov ecx, 6
.register:
  lodsb
  add dl, al
  lodsb
  out dx, al
  mov dx, [port]
  loop .register
.done:
  ret

; In: esi = a string that ends with 0. Changes eax, ecx, edx, esi.
early_print:
  mov ecx, 100000               ; a UART that never gets ready must not hang the boot
  movzx edx, word [port]
  test edx, edx
  jz .screen
  add dl, 5
.ready:
  in al, dx
  test al, 0x20                 ; THRE
  loopz .ready
  mov dx, [port]
  mov al, [esi]
  test al, al
  jz .done
  out dx, al
.screen:
  lodsb
  test al, al
  jz .done
  cmp al, ' '
  jb early_print
  mov edx, [cursor]
  mov ah, 7
  mov [edx], ax
  add dword [cursor], 2
  jmp early_print
.done:
  ret

section .data
port: dw COM1
cursor: dd 0xb8000
; Register offset and value: no interrupts, divisor 1 (115200), 8N1, FIFOs on and cleared, DTR and RTS.
uart_setup: db 1, 0, 3, 0x80, 0, 1, 1, 0, 3, 3, 2, 7
