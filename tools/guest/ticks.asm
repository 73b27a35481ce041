; /bin/ticks: prints the time-stamp counter in decimal. On Bochs and instruction-exact QEMU that is the count of
; instructions since power-on. A flat ELF of one page, so that starting it costs next to nothing.
bits 64
org 0x400000

elf:    db 0x7f, "ELF", 2, 1, 1, 0
        times 8 db 0
        dw 2, 62                        ; executable, x86-64
        dd 1
        dq start, headers - elf, 0      ; entry, program headers, section headers
        dd 0
        dw 64, 56, 1, 0, 0, 0
headers: dd 1, 5                        ; loadable, read and execute
        dq 0, elf, elf, end - elf, end - elf, 4096

start:  rdtsc
        shl rdx, 32
        or rax, rdx
        mov rsi, rsp                    ; digits are written downwards from here
        dec rsi
        mov byte [rsi], 10
        mov ecx, 10
.digit: xor edx, edx
        div rcx
        add dl, '0'
        dec rsi
        mov [rsi], dl
        test rax, rax
        jnz .digit
        mov rdx, rsp
        sub rdx, rsi
        mov edi, 1
        mov eax, edi                    ; write(1, digits, length)
        syscall
        xor edi, edi
        mov eax, 60                     ; exit(0)
        syscall
end:
