/** Whose each frame is: no two VMs, and no VM and root, may have the same one. */
import { abi } from "./layout.ts";
import type { FakeHost } from "./host.ts";
import { leaves } from "./physical.ts";

interface Range {
  start: bigint;
  end: bigint;
  what: string;
}

const stacks = BigInt.asUintN(64, BigInt(abi("STACK_AREA")));
const controls = BigInt.asUintN(64, BigInt(abi("CONTROL_AREA")));
const apic = BigInt.asUintN(64, BigInt(abi("APIC_PAGE")));

/** What a VM's vCPUs have each. */
const isControl = ({ what }: Range) => what.endsWith("control structure");

export class FrameOwners {
  private readonly owners = new Map<number, { vm: number; cr3: bigint; ranges: Range[] }>();

  /** A vCPU runs for the first time: what its tables map, and they themselves, must be its VM's alone, and some its own. */
  born(host: FakeHost, vm: number, context: number, control: bigint): void {
    const cr3 = host.context(context, "CR3");
    const ranges = this.rangesOf(host, vm, cr3, control);
    this.disjoint(ranges, `vm${vm}`);
    for (const [other, owner] of this.owners) {
      if (other === context || host.context(other, "CR3") !== owner.cr3) continue;
      const own = owner.vm === vm ? isControl : () => true;
      this.disjoint([...ranges.filter(own), ...owner.ranges.filter(own)], `vm${vm} and another`);
    }
    this.disjoint([...ranges, ...host.taken()], `vm${vm} and root`);
    this.owners.set(context, { vm, cr3, ranges });
  }

  /** Bytes of the tables of a VM: nested ones, and of its monitor's space what no other has. */
  tableBytes(context: number): number {
    const tables = this.owners.get(context)!.ranges.filter((r) => /nested table|host table/.test(r.what));
    return tables.length * 4096;
  }

  private rangesOf(host: FakeHost, vm: number, cr3: bigint, control: bigint): Range[] {
    const nested = host.extension.nestedTop(control);
    const ranges: Range[] = [];
    const add = (start: bigint, size: bigint, what: string) =>
      ranges.push({ start, end: start + size, what: `vm${vm}'s ${what}` });
    const isShared = (address: bigint) => address < 0x40000000n || address >= apic;
    for (const leaf of leaves(host.memory, nested, (table) => add(table, 4096n, "nested table")))
      add(leaf.hpa, leaf.size, `RAM at ${leaf.address.toString(16)}`);
    const window = BigInt.asUintN(64, BigInt(abi("GUEST_WINDOW")));
    const visit = (table: bigint, level: number, address: bigint) => {
      if (level >= 3 ? level === 4 || address < apic : !isShared(address)) add(table, 4096n, "host table");
    };
    for (const leaf of leaves(host.memory, cr3, visit)) {
      // Guest RAM is the nested tables'; space.test.ts compares the two.
      if (!isShared(leaf.address) && leaf.address < window) add(leaf.hpa, leaf.size, "monitor");
      if (leaf.address >= stacks && leaf.address < controls) add(leaf.hpa, leaf.size, "stack");
    }
    // The VMCB's second page is the host's saved state.
    add(control, host.vendor === "VT-x" ? 4096n : 8192n, "control structure");
    return ranges;
  }

  private disjoint(ranges: Range[], who: string): void {
    const sorted = [...ranges].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
    let before = sorted[0]!;
    for (const next of sorted.slice(1)) {
      // What is taken from the start may overlap itself.
      const isVms = before.what.startsWith("vm") || next.what.startsWith("vm");
      if (isVms && next.start < before.end)
        throw new Error(`${who}: ${before.what} and ${next.what} share frame ${next.start.toString(16)}`);
      if (next.end > before.end) before = next;
    }
  }
}
