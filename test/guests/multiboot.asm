; A multiboot kernel that prints what it was given. A 32-bit ELF file, whose parts are at other virtual addresses; with
; ADDRESSES defined a file of no format whose header says what goes where. FLAGS: what the header demands.

%ifndef FLAGS
  %define FLAGS 3
%endif
LOAD_BASE equ 0x200000
LOW_BASE equ 0x40000
VIRTUAL equ 0xc0000000

org LOAD_BASE
bits 32
file_start:
%ifndef ADDRESSES
  db 0x7f, "ELF", 1, 1, 1
  times 9 db 0
  dw 2, 3                       ; an executable for the 80386
  dd 1
  dd VIRTUAL + start
  dd headers - file_start, 0, 0
  dw 52, 32, 2, 0, 0, 0
headers:
  dd 1, 0, VIRTUAL + LOAD_BASE, LOAD_BASE, part_end - file_start, memory_end - file_start, 7, 0x1000
  dd 1, low - file_start, VIRTUAL + LOW_BASE, LOW_BASE, low_end - low, 0x1000, 7, 0x1000
%endif
align 4, db 0
header:
%ifdef ADDRESSES
HEADER_FLAGS equ FLAGS | 0x10000
%else
HEADER_FLAGS equ FLAGS
%endif
  dd 0x1badb002, HEADER_FLAGS, -(0x1badb002 + HEADER_FLAGS)
  dd header, LOAD_BASE, part_end, memory_end, start

%include "protected.inc"

start:
  mov esp, stack_top
  mov edi, ebx
  show "magic", eax
  show_mode
  show "flags", [edi]
  show "lower", [edi + 4]
  show "upper", [edi + 8]
  say "command line "
  mov esi, [edi + 16]
  call put_string
  call put_newline
  say "loader "
  mov esi, [edi + 64]
  call put_string
  call put_newline
  mov ebp, [edi + 48]           ; the memory map
.region:
  mov eax, [edi + 48]
  add eax, [edi + 44]
  cmp ebp, eax
  jae .regions_done
  say "memory "
  mov eax, [ebp + 8]
  call put_hex
  mov eax, [ebp + 4]
  call put_hex
  say " "
  mov eax, [ebp + 16]
  call put_hex
  mov eax, [ebp + 12]
  call put_hex
  say " "
  mov eax, [ebp + 20]
  call put_hex
  call put_newline
  add ebp, [ebp]
  add ebp, 4
  jmp .region
.regions_done:
  show "modules", [edi + 20]
  cmp dword [edi + 20], 0
  je .no_module
  mov ebp, [edi + 24]
  mov eax, [ebp]
  and eax, 4095
  show "alignment", eax
  mov eax, [ebp + 4]
  sub eax, [ebp]
  show "size", eax
  say "content "
  mov esi, [ebp]
  mov ecx, 16
  call put_bytes
  call put_newline
.no_module:
  ; ACPI's root pointer, where a kernel looks for it on a PC.
  mov ebp, 0xe0000
.search:
  cmp dword [ebp], "RSD "
  jne .next
  cmp dword [ebp + 4], "PTR "
  je .found
.next:
  add ebp, 16
  cmp ebp, 0x100000
  jb .search
  jmp .no_acpi
.found:
  show "rsdp", ebp
.no_acpi:
%ifndef ADDRESSES
  say "low part "
  mov esi, LOW_BASE
  call put_string
  call put_newline
%endif
  jmp power_off

align 4, db 0
part_end:
low:
  db "is here", 0
low_end:

absolute part_end
cleared: resb 0x2000
cleared_end:
stack: resb 4096
stack_top:
memory_end:
