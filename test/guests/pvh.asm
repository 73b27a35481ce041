; A kernel with a PVH entry point that prints what it was given: a 64-bit ELF file, a 32-bit one with ELF32 defined.

LOAD_BASE equ 0x200000

org LOAD_BASE
bits 32
%ifdef ELF32
  %define CLASS 1
  %define MACHINE 3
  %define WORD dd
  HEADER_SIZE equ 52
  ENTRY_SIZE equ 32
%else
  %define CLASS 2
  %define MACHINE 62
  %define WORD dq
  HEADER_SIZE equ 64
  ENTRY_SIZE equ 56
%endif

; Kind, offset, address, size in the file, size in memory, alignment.
%macro program_header 6
  dd %1
%ifndef ELF32
  dd 7
%endif
  WORD %2, %3, %3, %4, %5
%ifdef ELF32
  dd 7
%endif
  WORD %6
%endmacro

file_start:
  db 0x7f, "ELF", CLASS, 1, 1
  times 9 db 0
  dw 2, MACHINE
  dd 1
  WORD not_the_entry, headers - file_start, 0
  dd 0
  dw HEADER_SIZE, ENTRY_SIZE, 2, 0, 0, 0
headers:
  program_header 4, notes - file_start, notes, notes_end - notes, notes_end - notes, 4
  program_header 1, 0, LOAD_BASE, part_end - file_start, memory_end - file_start, 0x1000
align 4, db 0
notes:
  dd 4, 4, 18                   ; XEN_ELFNOTE_PHYS32_ENTRY
  db "Xen", 0
  dd start
notes_end:

%include "protected.inc"

not_the_entry:
  ud2

start:
  mov esp, stack_top
  mov edi, ebx
  show "magic", [edi]
  show "version", [edi + 4]
  show_mode
  say "command line "
  mov esi, [edi + 24]
  call put_string
  call put_newline
  mov ebp, [edi + 40]           ; the memory map
  mov ebx, [edi + 48]
.region:
  dec ebx
  js .regions_done
  say "memory "
  mov eax, [ebp + 4]
  call put_hex
  mov eax, [ebp]
  call put_hex
  say " "
  mov eax, [ebp + 12]
  call put_hex
  mov eax, [ebp + 8]
  call put_hex
  say " "
  mov eax, [ebp + 16]
  call put_hex
  call put_newline
  add ebp, 24
  jmp .region
.regions_done:
  show "modules", [edi + 12]
  cmp dword [edi + 12], 0
  je .no_module
  mov ebp, [edi + 16]
  show "size", [ebp + 8]
  say "content "
  mov esi, [ebp]
  mov ecx, 16
  call put_bytes
  call put_newline
.no_module:
  mov ebp, [edi + 32]
  cmp dword [ebp], "RSD "
  jne .no_acpi
  cmp dword [ebp + 4], "PTR "
  jne .no_acpi
  show "rsdp", ebp
.no_acpi:
  jmp power_off

align 4, db 0
part_end:

absolute part_end
cleared: resb 0x2000
cleared_end:
stack: resb 4096
stack_top:
memory_end:
