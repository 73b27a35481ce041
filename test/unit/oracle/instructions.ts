/** Instructions in NASM's syntax: many forms of nearly everything, to compare lengths with NASM. */
import type { CodeSize } from "../fake/code.ts";

/** Memory operands: every form of ModR/M and SIB that differs in length or in what is read. */
const MEMORY: Record<CodeSize, string[]> = {
  64: [
    "rax", "rsp", "rbp", "r12", "r13", "rdi+8", "rsp-8", "rbp+0", "r12+127", "r13-128", "rbx+128", "rsp+0x12345678",
    "r12-129", "rbp+r9*4", "r13+r14*8+1", "rax+rsp", "r15*8", "rax*4+0x1000", "rax+rbx*2-0x7fffffff", "rel 0x1234",
    "rel $", "abs 0x12345678", "eax", "esp+4", "r13d+ecx*8", "rel fs:0x28", "abs fs:0x28", "gs:rax", "fs:r13d+0x99",
  ],
  32: [
    "eax", "esp", "ebp", "edi+8", "esp-8", "ebx+128", "esp+0x12345678", "ebp+esi*4", "eax+ecx", "ecx*8", "eax*4+1",
    "0x12345678", "eax+ebx*2-0x7fffffff", "bx", "bp", "si", "bx+si", "bp+di+4", "bp+0x1234", "word 0x1234",
    "es:eax", "cs:ebp+4", "ss:0x1234", "ds:esp", "fs:ecx*2", "gs:bx+di",
  ],
  16: [
    "bx", "bp", "si", "di", "bx+si", "bx+di+4", "bp+si-4", "bp+di+0x1234", "bp+0x80", "si+0x7f", "0x1234",
    "eax", "esp", "ebp+0", "esp+ecx*4+0x12345678", "dword 0x12345678", "ecx*8", "es:bx", "cs:bp", "ss:0x1234", "fs:eax",
  ],
};

/** With [m] for a memory operand. */
const WITH_MEMORY = [
  ...["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"].flatMap((op) => [
    `${op} [m], cl`, `${op} [m], cx`, `${op} [m], ecx`, `${op} dl, [m]`, `${op} dx, [m]`, `${op} edx, [m]`,
    `${op} byte [m], 0x12`, `${op} word [m], 0x1234`, `${op} word [m], 0x12`, `${op} dword [m], 0x12345678`,
    `${op} dword [m], 1`,
  ]),
  "test [m], cl", "test [m], ecx", "test byte [m], 3", "test word [m], 3", "test dword [m], 3", "xchg [m], dl",
  "xchg [m], edx", "mov [m], bl", "mov [m], bx", "mov [m], ebx", "mov bl, [m]", "mov bx, [m]", "mov ebx, [m]",
  "mov byte [m], 9", "mov word [m], 9", "mov dword [m], 9", "mov [m], ds", "mov ds, [m]", "lea ecx, [m]",
  "lea cx, [m]", "movzx eax, byte [m]", "movzx eax, word [m]", "movsx ax, byte [m]", "movsx eax, word [m]",
  "not byte [m]", "neg word [m]", "mul byte [m]", "imul dword [m]", "div word [m]", "idiv dword [m]", "inc byte [m]",
  "dec dword [m]", "imul ecx, [m]", "imul ecx, [m], 5", "imul ecx, [m], 0x12345", "imul cx, [m], 0x1234",
  "imul cx, [m], 5", "rol byte [m], 1", "shl dword [m], cl", "sar word [m], 7", "rcr byte [m], cl", "shld [m], ecx, 3",
  "shrd [m], cx, cl", "bt [m], ecx", "bts [m], cx", "btr dword [m], 5", "btc word [m], 7", "bsf ecx, [m]",
  "bsr cx, [m]", "popcnt ecx, [m]", "lzcnt ecx, [m]", "tzcnt cx, [m]", "xadd [m], cl", "xadd [m], ecx",
  "cmpxchg [m], cl", "cmpxchg [m], ecx", "cmpxchg8b [m]", "setz [m]", "setnle [m]", "cmovc ecx, [m]", "cmovg cx, [m]",
  "movbe ecx, [m]", "movbe [m], cx", "crc32 ecx, byte [m]", "crc32 ecx, dword [m]", "adcx ecx, [m]", "adox ecx, [m]",
  "movnti [m], ecx", "prefetcht0 [m]", "prefetchnta [m]", "prefetchw [m]", "nop dword [m]", "clflush [m]",
  "clflushopt [m]", "push word [m]", "pop word [m]", "call far [m]", "jmp far [m]", "invlpg [m]", "lgdt [m]",
  "sgdt [m]", "lidt [m]", "sidt [m]", "lmsw [m]", "smsw [m]", "sldt [m]", "str [m]", "lldt [m]", "ltr [m]", "verr [m]",
  "verw [m]", "lar ecx, [m]", "lsl ecx, [m]", "lfs ecx, [m]", "lgs ecx, [m]", "lss cx, [m]", "fld dword [m]",
  "fld qword [m]", "fld tword [m]", "fstp qword [m]", "fild word [m]", "fnstcw [m]", "fldenv [m]", "fnsave [m]",
  "fadd dword [m]", "fxsave [m]", "fxrstor [m]", "xsave [m]", "xrstor [m]", "ldmxcsr [m]", "stmxcsr [m]",
  "movups xmm1, [m]", "movaps [m], xmm1", "movss xmm1, [m]", "movsd [m], xmm1", "movq xmm1, [m]", "movd xmm1, [m]",
  "movdqu xmm2, [m]", "movdqa [m], xmm2", "movntdq [m], xmm2", "movntps [m], xmm2", "lddqu xmm2, [m]",
  "pshufd xmm1, [m], 4", "pshufw mm1, [m], 4", "cmpps xmm1, [m], 2", "shufps xmm1, [m], 3", "pinsrw xmm1, [m], 2",
  "paddb xmm1, [m]", "paddb mm1, [m]", "pshufb xmm1, [m]", "palignr xmm1, [m], 5", "pcmpistri xmm1, [m], 5",
  "roundss xmm1, [m], 1", "pextrb [m], xmm1, 3", "pextrd [m], xmm1, 3", "insertps xmm1, [m], 3", "aesenc xmm1, [m]",
  "pclmulqdq xmm1, [m], 1", "sha1rnds4 xmm1, [m], 1", "cvtsi2sd xmm1, dword [m]", "ucomisd xmm1, [m]",
  "vmptrld [m]", "vmptrst [m]", "vmclear [m]", "vmxon [m]", "pfadd mm1, [m]",
];

const VEX = [
  "vmovups xmm1, [m]", "vmovups ymm1, [m]", "vmovdqa [m], ymm2", "vaddps ymm1, ymm2, [m]", "vpshufd xmm1, [m], 4",
  "vcmpps xmm1, xmm2, [m], 2", "vpshufb ymm1, ymm2, [m]", "vperm2f128 ymm1, ymm2, [m], 1", "vbroadcastss ymm1, [m]",
  "vpalignr xmm1, xmm2, [m], 3", "vfmadd132pd xmm1, xmm2, [m]", "vldmxcsr [m]", "andn ecx, edx, [m]",
  "bextr ecx, [m], edx", "shlx ecx, [m], edx", "rorx ecx, [m], 3", "pdep ecx, edx, [m]",
  "vmovups zmm1, [m]", "vmovdqu32 [m], zmm2", "vaddpd zmm1{k1}, zmm2, [m]", "vpternlogd zmm1, zmm2, [m], 0x55",
  "vpermb zmm1, zmm2, [m]", "vcmpps k1, zmm2, [m], 2", "vbroadcastsd zmm1, [m]", "kmovw k1, [m]",
];

const WITH_MEMORY_64 = [
  ...["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"].flatMap((op) => [
    `${op} [m], r9`, `${op} r8, [m]`, `${op} [m], r9b`, `${op} sil, [m]`, `${op} r10w, [m]`, `${op} qword [m], 1`,
    `${op} qword [m], 0x12345678`,
  ]),
  "mov [m], r9", "mov r9, [m]", "mov qword [m], 0x12345678", "movzx r9, byte [m]", "movsx rax, word [m]",
  "movsxd rax, dword [m]", "movsxd r8, dword [m]", "test qword [m], 3", "imul r8, [m]", "imul r8, [m], 5",
  "imul r8, [m], 0x12345", "push qword [m]", "pop qword [m]", "call [m]", "jmp [m]", "call far qword [m]",
  "cmpxchg16b [m]", "movbe r8, [m]", "crc32 rcx, qword [m]", "xadd [m], r9", "bt qword [m], 63", "inc qword [m]",
  "neg qword [m]", "shl qword [m], 3", "popcnt r9, [m]", "movnti [m], r9", "cvtsi2sd xmm9, qword [m]", "pinsrq xmm1, [m], 1",
  "movups xmm9, [m]", "pshufb xmm11, [m]", "fxsave64 [m]", "xsave64 [m]", "invept rax, [m]", "invvpid rax, [m]",
  "invpcid rax, [m]", "vmread [m], rax", "vmwrite rax, [m]", "vaddps ymm9, ymm10, [m]", "vpshufb ymm9, ymm2, [m]",
  "shlx r9, [m], rdx", "vmovups zmm17, [m]",
];

const WITH_MEMORY_LEGACY = [
  "les ecx, [m]", "lds cx, [m]", "bound ecx, [m]", "arpl [m], cx", "push dword [m]", "pop dword [m]", "call near dword [m]",
  "call near word [m]", "jmp near dword [m]", "jmp near word [m]", "invept eax, [m]", "vmread [m], eax", "invpcid eax, [m]",
];

/** What an intercept may be about, and everything else without a memory operand. Any prefix fits these. */
const PLAIN = [
  "cpuid", "hlt", "rdtsc", "rdtscp", "rdpmc", "rdmsr", "wrmsr", "clts", "invd", "wbinvd", "in al, dx", "in al, 0x60",
  "out dx, al", "out 0x60, al", "insb", "outsb", "monitor", "mwait", "xsetbv", "xgetbv", "vmcall", "vmlaunch",
  "vmresume", "vmxoff", "vmmcall", "vmrun", "vmload", "vmsave", "stgi", "clgi", "invlpga", "getsec", "rsm",
  "int 0x80", "int3", "int1", "cli", "sti", "clc", "stc", "cmc", "cld", "std", "lahf", "sahf", "xlatb", "movsb", "stosb",
  "lodsb", "cmpsb", "scasb", "ud2", "emms", "wait", "fninit", "mfence", "lfence", "sfence", "sysenter", "syscall",
  "smsw ax", "lmsw ax", "str ax", "ltr ax", "mov al, bl", "add cl, dl", "test al, 5", "mov al, 7", "cmp al, 1",
  "xor bl, 0x77", "shl al, 1", "shl al, 3", "setc al", "cmpxchg cl, dl", "inc cl", "div cl", "aam", "salc", "jc $+2",
  "jmp short $+2", "loop $+2", "retf", "retf 4", "leave", "enter 16, 1", "fadd st1", "fnstsw ax", "xend", "clac", "stac",
  "swapgs", "aad",
].filter((text) => text !== "");

/** Their length depends on the operand's size, so they take no prefix but their own. */
const SIZED = [
  "insw", "insd", "outsw", "outsd", "rep insb", "rep insd", "rep outsw", "in ax, dx", "in eax, dx", "out dx, ax",
  "out dx, eax", "in eax, 0x60", "out 0x60, ax", "iret", "iretw", "iretd", "pushf", "popf", "pushfw", "movsw", "movsd",
  "rep movsb", "rep movsd", "repe cmpsw", "repne scasd", "stosd", "lodsw", "mov eax, ebx", "mov ax, bx", "mov eax, 0x12345678",
  "mov ax, 0x1234", "add eax, 0x12345678", "add ax, 0x1234", "test eax, 1", "cmp ecx, 5", "cmp ecx, 0x12345", "imul ecx, edx, 7",
  "push 5", "push word 0x1234", "push strict word 5", "xchg eax, ecx", "nop", "pause", "bswap ecx", "cwd", "cdq", "cbw", "cwde",
  "jmp near $+100", "jz near $+100", "call $+100", "ret", "ret 8", "mov eax, [0x1234]", "mov [0x1234], al", "movzx ecx, dl",
  "movsx ecx, dx", "shld ecx, edx, 5", "bt ecx, 5", "pextrw eax, xmm1, 3", "pslld xmm1, 3", "psrldq xmm1, 3", "movd eax, xmm1",
  "rdrand eax", "rdseed ax", "vzeroupper", "kandw k1, k2, k3", "mov ds, ax", "mov ax, ds", "push fs", "pop gs",
  "db 0x0f, 0x01, 0xde ; skinit", "db 0x0f, 0x01, 0xee ; rdpkru", "a32 insb", "o16 insw", "a32 rep movsb", "fs lodsb", "es outsb", "ud1 eax, ecx",
];

const ONLY_64 = [
  "iretq", "pushfq", "popfq", "mov rax, cr0", "mov cr0, rax", "mov r9, cr3", "mov cr4, r10", "mov cr8, rax", "mov rax, dr7",
  "mov dr0, r11", "sysret", "o64 sysret", "o64 sysexit", "mov rax, 0x123456789abcdef0", "mov eax, 0x12345678",
  "mov rax, strict dword 5", "mov r9, r10", "add rax, 0x12345678", "push r12", "pop rdi", "push strict dword 5", "mov rax, [qword 0x123456789abcdef0]",
  "mov [qword 0x123456789abcdef0], al", "movsq", "stosq", "rep stosq", "cmpxchg r8, r9", "bswap r9", "cqo", "cdqe", "rdfsbase rax",
  "wrgsbase r9d", "movq rax, xmm1", "smsw rax", "xchg r8, rax", "jrcxz $+2", "a32 jecxz $+2", "lgdt [rel 0]", "invpcid rcx, [rax]",
];

const ONLY_32_16 = [
  "into", "pusha", "popa", "pushad", "popaw", "daa", "aas", "push es", "pop ds", "push cs", "mov eax, cr0", "mov cr0, eax",
  "mov cr4, ecx", "mov eax, dr7", "mov dr0, ecx", "inc ecx", "dec cx", "jmp 0x10:0x12345678", "call 0x10:0x1234",
  "jmp dword 0x10:0x12345678", "jmp word 0x10:0x1234", "a16 loop $+3",
  "jcxz $+3", "jecxz $+3", "push dword 0x12345678",
];

const PREFIXES = ["0x66", "0x67", "0xf2", "0xf3", "0x2e", "0x36", "0x64", "0xf0", "0x66, 0x67", "0x67, 0xf3, 0x26, 0x66"];
const REX = ["0x40", "0x48", "0x41", "0x66, 0x4f", "0x48, 0x66", "0xf3, 0x47", "0x48, 0x49"];

/** Prefixes do not go with what takes an immediate of the operand's size, but these have none. */
function prefixed(size: CodeSize): string[] {
  const prefixes = size === 64 ? [...PREFIXES, ...REX] : PREFIXES;
  const invalid = size === 64 ? ["salc", "aam", "aad"] : ["swapgs", "syscall"];
  const base = PLAIN.filter((text) => !invalid.includes(text));
  return [...base, ...base.flatMap((text) => prefixes.map((prefix) => `db ${prefix}\n ${text}`))];
}

/** Everything for code of a size. */
export function instructions(size: CodeSize): string[] {
  const templates = [...WITH_MEMORY, ...VEX, ...(size === 64 ? WITH_MEMORY_64 : WITH_MEMORY_LEGACY)];
  const withMemory = templates.flatMap((text) => MEMORY[size].map((m) => text.replace("[m]", `[${m}]`)));
  return [...withMemory, ...prefixed(size), ...SIZED, ...(size === 64 ? ONLY_64 : ONLY_32_16)];
}
