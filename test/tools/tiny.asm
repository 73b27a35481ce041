; The smallest multiboot2 kernel that a driver can be tested with: it prints its command line on COM1 and COM2,
; writes "SCREEN" to the VGA text screen, echoes what it receives on COM1, and on
;   q  switches the machine off (ACPI S5 of Bochs and QEMU's PC)
;   r  resets it
;   t  triple-faults.
; A command line that begins with q switches it off right away.
bits 32
section .multiboot
align 8
header: dd 0xe85250d6, 0, header_end - header, -(0xe85250d6 + header_end - header)
        dw 0, 0
        dd 8
header_end:

section .text
global _start
_start: mov esp, stack_end
        lea esi, [ebx + 8]              ; multiboot2 tags
.tag:   mov eax, [esi]
        cmp eax, 1                      ; boot command line
        je .found
        test eax, eax
        jz .none
        mov ecx, [esi + 4]
        add ecx, 7
        and ecx, ~7
        add esi, ecx
        jmp .tag
.none:  mov esi, nothing - 8
.found: add esi, 8
        mov ebp, esi
        mov edi, hello
        mov dx, 0x3f8
        call both
        mov dx, 0x2f8
        call both
        mov edi, 0xb8000
        mov esi, screen
.screen: lodsb
        test al, al
        jz .shown
        mov [edi], al
        mov byte [edi + 1], 7
        add edi, 2
        jmp .screen
.shown: cmp byte [ebp], 'q'
        je off

echo:   mov dx, 0x3fd
        in al, dx
        test al, 1
        jz echo
        mov dx, 0x3f8
        in al, dx
        call putc
        cmp al, 'q'
        je off
        cmp al, 'r'
        je reset
        cmp al, 't'
        jne echo
        lidt [none]
        int3
reset:  mov dx, 0xcf9
        mov al, 6
        out dx, al
        jmp $
off:    mov ax, 0x2000                  ; SLP_EN, SLP_TYP 0
        mov dx, 0xb004                  ; Bochs' PM1a control
        out dx, ax
        mov dx, 0x604                   ; QEMU's
        out dx, ax
        jmp $

both:   add dx, 3                       ; 115200 baud, 8 data bits
        mov al, 0x83
        out dx, al
        sub dx, 2
        xor eax, eax
        out dx, al
        dec dx
        inc eax
        out dx, al
        add dx, 3
        mov al, 3
        out dx, al
        sub dx, 3
        mov esi, edi                    ; "hello " and the command line, on the port dx
        call puts
        mov esi, ebp
        call puts
        mov al, 10
        call putc
        ret
puts:   lodsb
        test al, al
        jz .end
        call putc
        jmp puts
.end:   ret
putc:   mov ah, al
        add dx, 5
.wait:  in al, dx
        test al, 0x20
        jz .wait
        sub dx, 5
        mov al, ah
        out dx, al
        ret

hello:  db "hello ", 0
screen: db "SCREEN", 0
nothing: db 0
none:   dw 0
        dd 0
section .bss
        resb 4096
stack_end:
