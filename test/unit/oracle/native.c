/* Executes instructions on this machine's CPU, from registers, flags and memory that standard input gives, and writes
 * what they made of them to standard output. oracle/native.ts speaks the other side.
 *
 * A case's code is at CODE, its memory at DATA. 32-bit code runs in compatibility mode. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define CODE 0x10000000ul
#define DATA 0x10100000ul
#define DATA_SIZE 0x2000
#define WINDOW 512
#define CODE_SIZE 16

struct state {
  uint64_t gpr[16]; /* in ModR/M's order */
  uint64_t flags;
} state;

struct test {
  uint32_t bits, length;
  /* Where in the data the window begins that a case sets and reads. */
  uint64_t window;
  struct state state;
  uint8_t code[CODE_SIZE];
  uint8_t memory[WINDOW];
};

struct result {
  uint64_t signal;
  struct state state;
  uint8_t memory[WINDOW];
};

uint64_t saved_stack;
uint64_t target64 = CODE;
struct {
  uint32_t offset;
  uint16_t selector;
} __attribute__((packed)) target32 = {CODE, 0x23};

void execute64(void);
void execute32(void);
void back(void);

#define ALL(move)                                                                                                       \
  move(0, "rax") move(1, "rcx") move(2, "rdx") move(3, "rbx") move(4, "rsp") move(5, "rbp") move(6, "rsi")             \
  move(7, "rdi") move(8, "r8") move(9, "r9") move(10, "r10") move(11, "r11") move(12, "r12") move(13, "r13")           \
  move(14, "r14") move(15, "r15")
#define LOAD(n, name) "mov state+8*" #n "(%rip), %" name "\n"
#define STORE(n, name) "mov %" name ", state+8*" #n "(%rip)\n"
#define ENTER                                                                                                           \
  "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"                                                 \
  "mov %rsp, saved_stack(%rip)\n"                                                                                      \
  "pushq state+128(%rip); popfq\n"

__asm__(
  "execute64:" ENTER ALL(LOAD) "jmp *target64(%rip)\n"
  "execute32: mov $0x2b, %eax; mov %eax, %ds; mov %eax, %es\n" ENTER ALL(LOAD) "ljmp *target32(%rip)\n"
  "back:" ALL(STORE) "mov saved_stack(%rip), %rsp\n"
  "pushfq; popq state+128(%rip); cld\n"
  "xor %eax, %eax; mov %eax, %ds; mov %eax, %es\n"
  "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n");

static sigjmp_buf again;
static void caught(int number) { siglongjmp(again, number); }

/* Behind the code, the way back: JMP to an absolute address, or a far JMP to 64-bit code. */
static void put_code(const struct test *t) {
  uint8_t *p = (uint8_t *)CODE;
  memcpy(p, t->code, t->length);
  p += t->length;
  uint64_t to = (uint64_t)back;
  if (t->bits == 64) {
    memcpy(p, "\xff\x25\0\0\0\0", 6);
    memcpy(p + 6, &to, 8);
  } else {
    *p = 0xea;
    memcpy(p + 1, &to, 4);
    memcpy(p + 5, "\x33", 2);
  }
}

int main(void) {
  static uint8_t stack[65536];
  const int fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, rw = PROT_READ | PROT_WRITE;
  if (mmap((void *)CODE, 4096, rw | PROT_EXEC, fixed, -1, 0) == MAP_FAILED) return 1;
  if (mmap((void *)DATA, DATA_SIZE, rw, fixed, -1, 0) == MAP_FAILED) return 1;
  sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, 0);
  struct sigaction action = {.sa_handler = caught, .sa_flags = SA_ONSTACK | SA_NODEFER};
  const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, 0);
  static struct test t;
  static struct result r;
  while (fread(&t, sizeof t, 1, stdin) == 1) {
    memset((void *)DATA, 0, DATA_SIZE);
    memcpy((void *)(DATA + t.window), t.memory, WINDOW);
    put_code(&t);
    state = t.state;
    r.signal = sigsetjmp(again, 1);
    if (!r.signal) {
      if (t.bits == 64) execute64();
      else execute32();
    }
    r.state = state;
    memcpy(r.memory, (void *)(DATA + t.window), WINDOW);
    fwrite(&r, sizeof r, 1, stdout);
  }
  return 0;
}
