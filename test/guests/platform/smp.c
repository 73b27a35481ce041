/* Several processors (SDM Vol. 3A 9, Multiple-Processor Management; 11.6, Issuing Interprocessor Interrupts). */
#include "processors.h"

enum { OTHER_PAGE = 0x9000 };
static volatile u32 ap_id, ap_svr, ap_tpr, ap_lvt;
static volatile u64 ap_base;
static volatile u32 came[256];
/* What the other processor is to do, and has done. */
enum { REST, HALT, STOP, LEAD_TSC, ADD, SPIN };
static volatile u32 job, done;
static volatile u64 shared_tsc, turn, sum, spins;

static void on_other(struct frame *f) {
  u32 v = f->vector;
  __atomic_add_fetch(&came[v], 1, __ATOMIC_SEQ_CST);
  if (v == 2) return;
  if (v == 0x61) apic_send(0, 0x62); // the first processor's id is 0, or the test says so
  apic_set(APIC_EOI, 0);
}

static void count_up(void) {
  for (u32 i = 0; i < 100000; i++) asm volatile("lock incq %0" : "+m"(sum));
}

/* 9.4.4.2, Typical AP Initialization Sequence. */
void ap_main(void) {
  ap_id = apic_get(APIC_ID) >> 24;
  ap_base = read_msr(MSR_APIC_BASE);
  ap_svr = apic_get(APIC_SVR);
  ap_tpr = apic_get(APIC_TPR);
  ap_lvt = apic_get(APIC_LVT_LINT0);
  apic_set(APIC_SVR, 0x1ff);
  apic_set(APIC_DFR, 0xffffffff);
  apic_set(APIC_LDR, 0x02000000);
  __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
  for (;;) {
    u32 now = job;
    if (now == HALT) {
      asm volatile("sti; hlt; cli" : : : "memory");
    } else if (now == LEAD_TSC) {
      // Takes turns with the first processor.
      while (job == LEAD_TSC) {
        if (!(turn & 1)) continue;
        u64 t = tsc();
        if (t < shared_tsc) came[255]++;
        shared_tsc = t;
        turn++;
      }
    } else if (now == ADD) {
      count_up();
      done = 1;
      while (job == ADD) pause();
    } else if (now == SPIN) {
      spins++;
    } else {
      asm volatile("sti; nop; cli" : : : "memory");
      pause();
    }
  }
}

/* Another job, should it be halted too. */
static void give(u32 id, u32 what) {
  job = what;
  apic_send(id, 0x6e);
}

static bool arrives(u32 vector, u32 before) { return WAIT(came[vector] != before, 100000); }

static void messages(u32 id) {
  u32 own = apic_get(APIC_ID) >> 24;
  job = HALT;
  sleep_us(1000);
  u32 answers = 0;
  for (u32 i = 0; i < 100; i++) {
    forget_interrupts();
    apic_send(id, 0x61);
    answers += comes(0x62, 200000);
  }
  check("ping-pong", answers, 100);
  check("no-message-twice", came[0x61], 100);
  u32 before = came[0x63];
  apic_send(0, TO_OTHERS | 0x63);
  check("all-but-self-reaches-it", arrives(0x63, before), 1);
  forget_interrupts();
  check("all-but-self-is-not-for-self", comes(0x63, 1000), 0);
  before = came[0x64];
  apic_send(0, TO_ALL | 0x64);
  check("all-reaches-it", arrives(0x64, before), 1);
  check("all-reaches-self", comes(0x64, 10000), 1);
  before = came[0x65];
  apic_send(0xff, 0x65);
  check("physical-broadcast-reaches-it", arrives(0x65, before), 1);
  check("physical-broadcast-reaches-self", comes(0x65, 10000), 1);
  apic_set(APIC_DFR, 0xffffffff);
  apic_set(APIC_LDR, 0x01000000);
  before = came[0x66];
  apic_send(2, 0x866);
  check("logical-destination-reaches-it", arrives(0x66, before), 1);
  before = came[0x67];
  apic_send(1, 0x867);
  check("logical-destination-reaches-self", comes(0x67, 10000), 1);
  check("and-only-self", came[0x67], before);
  apic_send(3, 0x868);
  check("both-by-logical-destination", comes(0x68, 10000) && WAIT(came[0x68] == 1, 100000), 1);
  // 11.6.2.4, Lowest Priority Delivery Mode: one of them.
  forget_interrupts();
  // A request that comes while the one before waits is the same one: each is waited for.
  for (u32 i = 0; i < 10; i++) {
    apic_send(3, 0x969);
    sti();
    WAIT(counts[0x69] + came[0x69] == i + 1, 100000);
    cli();
  }
  check("lowest-priority-reaches-one", counts[0x69] + came[0x69], 10);
  before = came[2];
  apic_send(id, 0x400);
  check("nmi-wakes-it", arrives(2, before), 1);
  check("nmi-is-not-for-self", counts[2], 0);
  check("own-id-is-0", own, 0);
}

static void clocks(u32 id) {
  turn = 0;
  give(id, LEAD_TSC);
  u32 back = 0, rounds = 0;
  u64 end = tsc() + TICKS(2000000UL);
  while (rounds < 300 && tsc() < end) {
    if (turn & 1) continue;
    u64 t = tsc();
    back += t < shared_tsc;
    shared_tsc = t;
    turn++;
    rounds++;
  }
  WAIT(!(turn & 1), 100000);
  job = REST;
  check_range("turns-were-taken", rounds, slack > 1 ? 10 : 300, 300); // on fewer host processors few
  check("tsc-never-goes-back-between-processors", back + came[255], 0);
}

static void memory(u32 id) {
  sum = 0;
  done = 0;
  give(id, ADD);
  count_up();
  WAIT(done, 3000000);
  check("locked-additions-of-both", sum, 200000);
  job = REST;
}

static void restarting(u32 id) {
  // 9.4.1, BSP and AP Processors; table 10-1: INIT leaves it waiting for SIPI.
  give(id, SPIN);
  u64 before = spins;
  check("it-runs", WAIT(spins > before + 10, 200000), 1);
  init(id);
  before = spins;
  sleep_us(2000);
  check("init-stops-it", spins, before);
  u32 starts = started;
  place(OTHER_PAGE);
  job = REST;
  start(id, OTHER_PAGE);
  check("sipi-starts-it-again", started, starts + 1);
  check("at-the-other-page", ap_first_cs, OTHER_PAGE >> 4);
  check("init-resets-its-apic", ap_tpr, 0);
  check("init-keeps-its-base", ap_base & 0xfffff000, apic_page());
  // A SIPI to one that runs is nothing.
  starts = started;
  apic_send(id, 0x600 | PAGE >> 12);
  sleep_us(2000);
  check("sipi-while-running-is-ignored", started, starts);
}

SUBJECT(smp) {
  u32 id = prepare(on_other);
  if (id == NOBODY) return;
  check("nothing-starts-by-init", started, 0);
  start(id, PAGE);
  check("started", started, 1);
  if (!started) return;
  check("its-id", ap_id, id);
  // Table 10-1, IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT; 9.4.3, MP Initialization.
  check("starts-at-its-page", ap_first_cs, PAGE >> 4);
  check("starts-with-reset-cr0", ap_first_cr0 & ~0x60000000u, 0x10);
  check("is-no-boot-processor", ap_base >> 8 & 1, 0);
  check("its-apic-is-enabled", ap_base >> 11 & 1, 1);
  check("its-apic-is-software-disabled", ap_svr, 0xff);
  check("its-lint0-is-masked", ap_lvt, MASKED);
  messages(id);
  clocks(id);
  memory(id);
  restarting(id);
  apic_send(id, 0xc500);
  other_processor = 0;
}

/* SDM Vol. 2A, CPUID, leaves 1, 4 and Bh. */
SUBJECT(topology) {
  if (cpuid(0, 0).a < 0xb || !cpuid(0xb, 0).b) {
    skip("leaf-b", "CPUID does not have it");
    return;
  }
  u32 id = cpuid(0xb, 0).d, last = 0;
  bool kinds = 1, ids = 1, counts_fit = 1;
  check("ids-agree", id & 0xff, cpuid(1, 0).b >> 24);
  for (u32 level = 0; level < 2; level++) {
    struct answer r = cpuid(0xb, level);
    kinds &= r.c == ((level + 1) << 8 | level);
    ids &= r.d == id;
    counts_fit &= (r.a & 31) >= last && (r.b & 0xffff) >= 1 && (r.b & 0xffff) <= 1u << (r.a & 31);
    last = r.a & 31;
  }
  check("levels-are-threads-and-cores", kinds && counts_fit, 1);
  check("every-level-has-the-id", ids, 1);
  struct answer end = cpuid(0xb, 2);
  check("end-of-levels", (end.c & 0xff00) | (end.b & 0xffff), 0);
  check("end-echoes-its-level", end.c & 0xff, 2);
  check("end-has-the-id", end.d, id);
}
