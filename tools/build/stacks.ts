/** Whether an image's stacks are as large as what runs on them needs: root, the monitors, and the stubs of interrupts. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { MachineCode } from "./machine-code.ts";
import { prefixOf, type Image } from "./modules.ts";
import { StackBounds, UnboundedError, type Bound } from "./stack.ts";

/** What runs on a stack, and how much of it there is. */
export interface Use {
  name: string;
  size: number;
  bound: Bound;
}

const show = ({ chain }: Bound): string => chain.map(({ name, bytes }) => `${name} (${bytes})`).join(" > ");

/**
 * One line for what runs on a stack.
 * @throws an Error that names the chain of calls if it does not fit
 */
export function describeUse({ name, size, bound }: Use): string {
  if (bound.bytes > size)
    throw new Error(`${name} may use ${bound.bytes} bytes of a stack of ${size}: ${show(bound)}`);
  return `  ${name}: ${bound.bytes} of ${size} bytes, for ${bound.chain.at(-1)?.name}`;
}

/** The value of a constant of kernel/abi, as C has it. */
function layoutConstant(abi: string, name: string): number {
  const found = new RegExp(`^#define ${name} (0x[0-9a-f]+)`, "m").exec(
    readFileSync(join(abi, "layout.h"), "utf8"),
  );
  if (!found) throw new Error(`layout.h: no ${name}`);
  return Number(found[1]);
}

/** What the CPU pushes for an interrupt, without and with an error code: SDM Vol. 3A 6.14.2, 64-Bit Mode Stack Frame. */
const frameBytes = 5 * 8;
const errorBytes = 8;
/** Size of a stub, and the vectors that have stacks of their own (boot/percpu.asm). */
const stubBytes = 16;
const vectorStacks: [name: string, vectors: number[]][] = [
  ["fault", Array.from({ length: 32 }, (_, i) => i).filter((vector) => vector !== 2 && vector !== 18)],
  ["nmi", [2]],
  ["machine", [18]],
  ["irq", Array.from({ length: 224 }, (_, i) => i + 32)],
];

/** What comes upon interrupts and exceptions. Where the CPU pushes no error code, a fault's stub does. */
function vectorUses(code: MachineCode, bounds: StackBounds): Use[] {
  const stubs = code.symbol("stubs");
  return vectorStacks.map(([name, vectors]) => {
    const worst = vectors
      .map((vector) => bounds.of(stubs + vector * stubBytes))
      .reduce((a, b) => (b.bytes > a.bytes ? b : a));
    // In place of the return address of a call there is the CPU's frame.
    const pushed = frameBytes - 8 + (name === "fault" ? errorBytes : 0);
    const [first, ...rest] = worst.chain;
    const chain = [{ name: "CPU", bytes: pushed }, { ...first!, name: `vector ${vectors[0]}` }, ...rest];
    const bound = { bytes: worst.bytes + pushed, chain };
    return {
      name: `${name} stack`,
      size: code.symbol(`${name}_stack_top`) - code.symbol(`${name}_stack`),
      bound,
    };
  });
}

/**
 * The stack of an export. Interrupts and faults have stacks of their own, and the stubs call with the stack empty: there is
 * the return address, which the bound has, and what the function takes.
 */
function stackSize(code: MachineCode, module: string, exported: string, monitorStack: number): number {
  if (module !== "root") return monitorStack;
  // That of another CPU is as large as the boot CPU's (ROOT_STACK_SIZE).
  const stack = exported === "root_trap" ? "panic_stack" : "root_stack";
  return code.symbol(`${stack}_top`) - code.symbol(stack);
}

/**
 * Lines that say how much of its stack each export may use, and each interrupt.
 * @throws an Error that names the chain of calls that does not fit, or that has no bound in a module that may not recurse
 */
export async function checkStacks(image: Image, debug: string, abi: string, cwd: string): Promise<string> {
  const code = await MachineCode.read(debug, cwd);
  const bounds = new StackBounds(code);
  const monitorStack = layoutConstant(abi, "STACK_SIZE");
  const lines = [`${image.name}.elf, stacks at most:`];
  for (const module of image.modules) {
    const prefix = prefixOf(module);
    const exports = code.globals.filter((name) => name.startsWith(`${prefix}_`));
    if (exports.length === 0) throw new Error(`${image.name}: no functions of ${prefix}`);
    for (const name of exports) {
      try {
        lines.push(
          describeUse({ name, size: stackSize(code, prefix, name, monitorStack), bound: bounds.of(name) }),
        );
      } catch (error) {
        if (!(module.allowRecursion && error instanceof UnboundedError)) throw error;
        lines.push(`  ${name}: unbounded, as it may be: ${error.message}`);
      }
    }
  }
  lines.push(...vectorUses(code, bounds).map(describeUse));
  return `${lines.join("\n")}\n`;
}
