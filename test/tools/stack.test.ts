/** The bound of a stack's use, of C functions by gcc: against what gcc says of each, and against what is used when they run. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { cFlags } from "../../tools/build/image.ts";
import { MachineCode } from "../../tools/build/machine-code.ts";
import { images, typevisor } from "../../tools/build/modules.ts";
import { type Bound, StackBounds } from "../../tools/build/stack.ts";
import { checkStacks, describeUse } from "../../tools/build/stacks.ts";
import { projectDirectory } from "../../tools/machine/run-directory.ts";

const folder = mkdtempSync(join(tmpdir(), "typevisor-stack-"));
afterAll(() => rmSync(folder, { recursive: true }));

const prelude = `
#define NOINLINE __attribute__((noinline, noclone))
#define KEEP(array) __asm__ volatile("" : : "r"(array) : "memory")
volatile int sink;
NOINLINE int leaf(int a) { char room[40]; KEEP(room); return room[a & 7]; }
`;

interface Compiled {
  bounds: StackBounds;
  /** What gcc says of each function (-fstack-usage). */
  frame: Map<string, number>;
}

let programs = 0;

async function compile(source: string): Promise<Compiled> {
  const name = `program${programs++}`;
  writeFileSync(join(folder, `${name}.c`), prelude + source);
  execFileSync("gcc", [...cFlags, "-O2", "-c", `${name}.c`, "-o", `${name}.o`], { cwd: folder });
  execFileSync("ld", ["-static", "-e", "top", "-o", name, `${name}.o`], { cwd: folder });
  return {
    bounds: new StackBounds(await MachineCode.read(join(folder, name), folder)),
    frame: framesOf([join(folder, `${name}.su`)]),
  };
}

function framesOf(files: string[]): Map<string, number> {
  const lines = files.flatMap((file) => readFileSync(file, "utf8").trim().split("\n"));
  return new Map(
    lines.map((line) => {
      const [place, bytes] = line.split("\t");
      return [place!.slice(place!.lastIndexOf(":") + 1), Number(bytes)];
    }),
  );
}

const names = ({ chain }: Bound): string[] => chain.map(({ name }) => name);

test("A chain of calls takes the sum of its functions' frames, return addresses included", async () => {
  const { bounds, frame } = await compile(`
    NOINLINE int middle(int a) { char room[100]; KEEP(room); return leaf(a) + room[a]; }
    int top(int a) { char room[200]; KEEP(room); return middle(a) + room[a]; }`);
  const bound = bounds.of("top");
  expect(names(bound)).toEqual(["top", "middle", "leaf"]);
  expect(bound.bytes).toBe(frame.get("top")! + frame.get("middle")! + frame.get("leaf")!);
  expect(bound.bytes).toBeGreaterThan(340);
});

test("The deepest of several chains counts, not the longest", async () => {
  const { bounds } = await compile(`
    NOINLINE int c(int a) { return leaf(a) + 1; }
    NOINLINE int b(int a) { return c(a) + 1; }
    NOINLINE int wide(int a) { char room[500]; KEEP(room); return room[a]; }
    int top(int a) { return b(a) + wide(a); }`);
  expect(names(bounds.of("top"))).toEqual(["top", "wide"]);
});

test("What is inlined counts once, as part of its caller", async () => {
  const { bounds, frame } = await compile(`
    static inline __attribute__((always_inline)) int within(int a) { char room[64]; KEEP(room); return room[a]; }
    int top(int a) { return within(a) + within(a + 1); }`);
  expect(names(bounds.of("top"))).toEqual(["top"]);
  expect(bounds.of("top").bytes).toBe(frame.get("top"));
});

test("A call in last place has its caller's frame no longer above it", async () => {
  const { bounds, frame } = await compile(`
    NOINLINE int last(int a) { char room[300]; KEEP(room); return leaf(room[a]) + 1; }
    NOINLINE int busy(int a) {
      __asm__ volatile("" : : : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11");
      return sink + a;
    }
    int top(int a) { int b = busy(a), c = busy(a + 1), d = busy(a + 2); return last(b * c * d); }`);
  expect(frame.get("top")).toBeGreaterThan(24);
  expect(bounds.of("top").bytes).toBe(frame.get("last")! + frame.get("leaf")!);
});

test("A loop by calls in last place is no recursion", async () => {
  const { bounds } = await compile(`
    NOINLINE int odd(int a);
    NOINLINE int even(int a) { sink = a; return a == 0 ? leaf(a) : odd(a - 1); }
    NOINLINE int odd(int a) { sink = -a; return a == 0 ? 0 : even(a - 1); }
    int top(int a) { return even(a) + 1; }`);
  expect(bounds.of("top").bytes).toBeLessThan(100);
});

test("What lies behind a switch's table and in a function's cold part counts", async () => {
  const cases = Array.from({ length: 8 }, (_, i) => `case ${i}: sink = a * ${i + 3}; break;`).join("\n");
  const { bounds } = await compile(`
    NOINLINE int wide(int a) { char room[500]; KEEP(room); return room[a]; }
    NOINLINE __attribute__((cold)) int seldom(int a) { char room[900]; KEEP(room); return room[a]; }
    NOINLINE int choose(int kind, int a) { switch (kind) { ${cases} case 8: return wide(a) + 1; } return 0; }
    NOINLINE int rarely(int a) { if (a == 77) { sink = 1; return seldom(a) + seldom(a + 1); } return a; }
    int top(int a) { return choose(a, 5) + rarely(a); }`);
  expect(names(bounds.of("choose"))).toEqual(["choose", "wide"]);
  expect(names(bounds.of("top"))).toEqual(["top", "rarely", "seldom"]);
});

test("What assembly pushes counts, though gcc does not know of it", async () => {
  const { bounds, frame } = await compile(`
    int top(int a) { unsigned long flags; __asm__ volatile("pushf; pushf; pop %0; popf" : "=r"(flags)); return a + flags; }`);
  expect(bounds.of("top").bytes).toBe(frame.get("top")! + 16);
});

test.each([
  ["recursion", "int top(int a) { return a ? top(a - 1) * leaf(a) + 1 : 0; }", /^top: calls top again$/],
  [
    "recursion through another function",
    `int top(int a);
     NOINLINE int other(int a) { return top(a - 1) + leaf(a); }
     int top(int a) { return a ? other(a) * 3 + 1 : 0; }`,
    /^top > other: calls (top|other) again$/,
  ],
  [
    "an array whose size is not known",
    "NOINLINE int lend(int n) { char room[n]; KEEP(room); return leaf(room[0]); } int top(int a) { return lend(a) + 1; }",
    /^top > lend: lend at 0x\w+ moves the stack pointer by what nobody can tell: sub +rsp,r/,
  ],
  [
    "a call through a pointer",
    "extern int (*pointer)(int); int (*pointer)(int) = leaf; int top(int a) { return pointer(a) + 1; }",
    /^top: top at 0x\w+ calls through a pointer/,
  ],
  [
    "a jump through a pointer",
    "extern int (*pointer)(int); int (*pointer)(int) = leaf; int top(int a) { return pointer(a); }",
    /^top: top at 0x\w+ jumps through a pointer/,
  ],
])("There is no bound for %s, and the refusal names the chain", async (_, source, message) => {
  const { bounds } = await compile(source);
  expect(() => bounds.of("top")).toThrow(message);
});

test("A stack that is too small is refused with the chain that does not fit", async () => {
  const { bounds } = await compile(`
    NOINLINE int wide(int a) { char room[5000]; KEEP(room); return room[a]; }
    int top(int a) { return wide(a) + 1; }`);
  const bound = bounds.of("top");
  expect(describeUse({ name: "top", size: bound.bytes, bound })).toMatch(
    /^ {2}top: \d+ of \d+ bytes, for wide$/,
  );
  expect(() => describeUse({ name: "top", size: 4096, bound })).toThrow(
    /^top may use 50\d\d bytes of a stack of 4096: top \(\d+\) > wide \(50\d\d\)$/,
  );
});

/** Runs `top` on a stack that is painted before, and prints how much of it has changed. */
const measured = `
#include <stdio.h>
static unsigned char stack[65536] __attribute__((aligned(4096)));
int main(void) {
  for (unsigned i = 0; i < sizeof stack; i++) stack[i] = 0xa5;
  int result;
  __asm__ volatile("mov %%rsp, %%rbx; mov %2, %%rsp; call *%3; mov %%rbx, %%rsp"
                   : "=a"(result) : "D"(3), "r"(stack + sizeof stack), "r"(top)
                   : "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
  unsigned untouched = 0;
  while (stack[untouched] == 0xa5) untouched++;
  printf("%u\\n", (unsigned)sizeof stack - untouched);
  return result & 0;
}`;

test.each([
  ["calls", "int top(int a) { char room[120]; FILL(room); KEEP(room); return middle(a) + room[a]; }"],
  [
    "a call in last place",
    "int top(int a) { int b = last(a), c = last(a + 1), d = last(a + 2); sink = last(d); return middle(b * c * d); }",
  ],
  [
    "more arguments than registers",
    "NOINLINE int many(int a, int b, int c, int d, int e, int f, int g, int h, int i) " +
      "{ return middle(a + b + c) * d + e + f + g + h + i; } " +
      "int top(int a) { return many(a, 2, 3, 4, 5, 6, a, a + 1, a + 2) + a; }",
  ],
])("The bound is what a run uses: %s", async (_, top) => {
  const source = `
    #define FILL(room) for (unsigned i = 0; i < sizeof room; i++) ((volatile char *)room)[i] = 1
    NOINLINE int last(int a) { return sink + a; }
    NOINLINE int middle(int a) { char room[80]; FILL(room); KEEP(room); return last(a) + room[a]; }
    ${top}`;
  const name = `measured${programs++}`;
  writeFileSync(join(folder, `${name}.c`), prelude + source + measured);
  execFileSync("gcc", [...cFlags, "-O2", "-static", "-no-pie", `${name}.c`, "-o", name], { cwd: folder });
  const used = Number(execFileSync(join(folder, name), { encoding: "utf8" }));
  const bound = new StackBounds(await MachineCode.read(join(folder, name), folder)).of("top");
  expect(used).toBe(bound.bytes);
});

test("What the shipped image's functions take is what gcc says of them, and at most a boundary more", async () => {
  const code = await MachineCode.read(join(projectDirectory, "build/typevisor.debug"), projectDirectory);
  const bounds = new StackBounds(code);
  for (const name of code.globals.filter((global) => /^(root|monitor_vmx|monitor_svm)_/.test(global)))
    bounds.of(name);
  const objects = [...typevisor.modules.map(({ name }) => name), "start.c"];
  const frames = framesOf(objects.map((name) => join(projectDirectory, `build/objects/${name}.su`)));
  // gcc leaves the numbers of some clones out.
  const found = Array.from(bounds.frames, ([name, bytes]) => ({
    name,
    bytes,
    gcc: frames.get(name) ?? frames.get(name.replace(/\.\d+/g, "")),
  }));
  const compared = found.filter(({ gcc }) => gcc !== undefined);
  expect(compared.filter(({ bytes, gcc }) => bytes < gcc! || bytes > gcc! + 8)).toEqual([]);
  expect(compared.length).toBeGreaterThan(250);
  expect(found.length - compared.length).toBeLessThan(15); // NASM's, and parts of functions
});

test("A build fails when a monitor's stack is too small, and names the chain", async () => {
  writeFileSync(join(folder, "layout.h"), "#define STACK_SIZE 0x180ul\n");
  const debug = join(projectDirectory, "build/typevisor.debug");
  await expect(checkStacks(typevisor, debug, folder, projectDirectory)).rejects.toThrow(
    /^monitor_vmx_exit may use \d+ bytes of a stack of 384: monitor_vmx_exit \(\d+\) > .*decode_decode \(\d+\) > /,
  );
});

test("A build fails when a module recurses that may not, and else says that there is no bound", async () => {
  const image = images.find(({ name }) => name === "containment")!;
  const debug = join(projectDirectory, "build/containment.debug");
  const abi = join(projectDirectory, "build/abi");
  expect(await checkStacks(image, debug, abi, projectDirectory)).toMatch(
    /^ {2}monitor_vmx_exit: unbounded, as it may be: monitor_vmx_exit > .*_recurse: calls .*_recurse again$/m,
  );
  const strict = { ...image, modules: image.modules.map((module) => ({ ...module, allowRecursion: false })) };
  await expect(checkStacks(strict, debug, abi, projectDirectory)).rejects.toThrow(/_recurse again$/);
});
