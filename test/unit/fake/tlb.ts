/**
 * What a CPU may have cached of translations (SDM Vol. 3A 4.10, Caching Translation Information; Vol. 3C 29.4, Caching
 * Translation Information). Emulators flush everything at each entry and exit; this keeps everything for as long as the
 * architecture allows, and a hit on what the tables no longer say fails the test.
 *
 * Host translations have PCID 0 and VPID 0, whatever CR3 they come from: MOV to CR3 drops them but for global ones. What
 * comes from EPT has the tag EP4TA: bits 51:12 of the EPTP. Guests' linear translations have their VPID as the only tag.
 * The architecture gives them that of the EPTP too (combined mappings); without it the model also sees a VPID that is
 * given to another vCPU, against 29.4.3.3, Guidelines for Use of the INVVPID Instruction.
 *
 * On AMD-V all of a guest's have its ASID as the only tag (APM Vol. 2 15.16, TLB Control), and the host's have ASID 0; VMRUN
 * drops what TLB_CONTROL says, and an exit nothing.
 */
import { type Leaf, type PhysicalMemory, walk } from "./physical.ts";

const PAGE = 4096;

/** Something used a translation that is no longer what the tables say. */
export class StaleTranslation extends Error {}

/** A page fault, or an access through no mapping at all, in root or in a monitor. */
export class PageFault extends Error {}

/** Invalidations that a test makes the CPU ignore, to see that they are needed. */
export type Invalidation =
  ("MOV CR3" | "MOV CR4" | "INVEPT" | "INVVPID" | "VM entry and exit") | "TLB_CONTROL";

interface Cached {
  leaf: Leaf;
  /** The top table, and the memory's tableEpoch, by which it was last known to be right. */
  top: number;
  epoch: number;
}

const hex = (n: number) => n.toString(16);

function describe(leaf: Leaf | undefined): string {
  if (!leaf) return "nothing";
  return `${hex(leaf.hpa - (leaf.hpa % PAGE))} (rights ${leaf.rights}${leaf.noExecute ? ", no execute" : ""})`;
}

function sameFrame(a: Leaf, b: Leaf | undefined): boolean {
  return (
    b !== undefined &&
    a.hpa - (a.hpa % PAGE) === b.hpa - (b.hpa % PAGE) &&
    a.rights === b.rights &&
    a.noExecute === b.noExecute
  );
}

export class Tlb {
  private readonly hostPages = new Map<number, Cached>();
  private readonly nestedPages = new Map<number, Map<number, Cached>>();
  private readonly asidPages = new Map<number, Map<number, Cached>>();
  private readonly linearPages = new Map<number, Map<number, number>>();

  constructor(
    private readonly memory: PhysicalMemory,
    /** Bits of a physical address; those above are reserved in tables. */
    private readonly physicalBits: number,
    private readonly ignored: readonly Invalidation[] = [],
    private readonly tagName = "VPID",
  ) {}

  /** Looks a 4 KiB page up, or walks and caches. Not-present entries are never cached (4.10.2.3). */
  private lookup(cache: Map<number, Cached>, page: number, top: number, what: string): Leaf | undefined {
    const cached = cache.get(page);
    if (cached?.top === top && cached.epoch === this.memory.tableEpoch) return cached.leaf;
    const leaf = walk(this.memory, top, page * PAGE);
    if (cached && !sameFrame(cached.leaf, leaf)) {
      const [was, is] = [describe(cached.leaf), describe(leaf)];
      throw new StaleTranslation(`${what}: ${hex(page * PAGE)} is cached as ${was}, the tables say ${is}`);
    }
    if (!leaf) return undefined;
    for (const table of leaf.tables) this.memory.watch(table);
    cache.set(page, { leaf, top, epoch: this.memory.tableEpoch });
    return leaf;
  }

  /** A data access of root or a monitor, or a fetch: `page` is bits 47:12 of the address. */
  host(cr3: number, page: number, kind: "load" | "store" | "fetch", who: string): Leaf {
    const leaf = this.lookup(this.hostPages, page, cr3, who);
    const problem = leaf ? this.problemOf(leaf, kind) : "not mapped";
    if (!leaf || problem) throw new PageFault(`${who}: ${kind} at page ${hex(page)}000: ${problem}`);
    return leaf;
  }

  private problemOf(leaf: Leaf, kind: "load" | "store" | "fetch"): string | undefined {
    if (leaf.hpa >= 2 ** this.physicalBits) return "a reserved bit in its translation";
    if (leaf.rights & 4) return "a page of ring 3";
    if (kind === "store" && !(leaf.rights & 2)) return "read-only";
    return kind === "fetch" && leaf.noExecute ? "no execute" : undefined;
  }

  /** A guest's access to a guest-physical address: its host-physical one, or undefined for an EPT violation. */
  nested(eptp: bigint, gpa: number, who: string): number | undefined {
    const top = Number(eptp & 0x000ffffffffff000n);
    let cache = this.nestedPages.get(top);
    if (!cache) this.nestedPages.set(top, (cache = new Map<number, Cached>()));
    const leaf = this.lookup(cache, Math.floor(gpa / PAGE), top, who);
    return leaf && leaf.hpa - (leaf.hpa % PAGE) + (gpa % PAGE);
  }

  /** The same on AMD-V. A guest's accesses have a user's rights in nested tables (APM Vol. 2 15.25.5). */
  nestedOfAsid(asid: number, top: bigint, gpa: number, who: string): number | undefined {
    let cache = this.asidPages.get(asid);
    if (!cache) this.asidPages.set(asid, (cache = new Map<number, Cached>()));
    const leaf = this.lookup(cache, Math.floor(gpa / PAGE), Number(top), `${who}, ASID ${asid}`);
    if (!leaf) return undefined;
    if (leaf.rights !== 7 || leaf.noExecute || leaf.hpa >= 2 ** this.physicalBits)
      throw new PageFault(`${who}: nested page fault at ${hex(gpa)}: rights ${leaf.rights}`);
    return leaf.hpa - (leaf.hpa % PAGE) + (gpa % PAGE);
  }

  /** A guest's access to a linear address that its own tables translate to `gpa`. */
  linear(tag: number, address: number, gpa: number, who: string): void {
    let cache = this.linearPages.get(tag);
    if (!cache) this.linearPages.set(tag, (cache = new Map<number, number>()));
    const page = Math.floor(address / PAGE);
    const is = Math.floor(gpa / PAGE);
    const was = cache.get(page) ?? is;
    if (was !== is) {
      const text = `cached as ${hex(was)}000, its tables say ${hex(is)}000`;
      throw new StaleTranslation(`${who}, ${this.tagName} ${tag}: linear address ${hex(address)} is ${text}`);
    }
    cache.set(page, is);
  }

  /** MOV to CR3 without PCIDs (4.10.4.1, Operations that Invalidate TLBs and Paging-Structure Caches). */
  moveToCr3(pge: boolean): void {
    if (this.ignored.includes("MOV CR3")) return;
    for (const [page, { leaf }] of this.hostPages)
      if (!pge || !(leaf.entry & 0x100)) this.hostPages.delete(page);
  }

  /** A change of CR4.PGE drops everything, global translations too. */
  changeOfPge(): void {
    if (!this.ignored.includes("MOV CR4")) this.hostPages.clear();
  }

  /** Without VPID an entry or exit drops what has VPID 0 (29.4.3.1). With it, nothing: not even the exit's load of CR3. */
  enterOrExit(vpid: number): void {
    if (vpid !== 0 || this.ignored.includes("VM entry and exit")) return;
    this.hostPages.clear();
    this.linearPages.delete(0);
  }

  /** Single-context. */
  invept(eptp: bigint): void {
    if (!this.ignored.includes("INVEPT")) this.nestedPages.delete(Number(eptp & 0x000ffffffffff000n));
  }

  /** Single-context. */
  invvpid(vpid: number): void {
    if (!this.ignored.includes("INVVPID")) this.linearPages.delete(vpid);
  }

  /** VMRUN with TLB_CONTROL 1: everything, of the host too. */
  flushAll(): void {
    if (this.ignored.includes("TLB_CONTROL")) return;
    this.hostPages.clear();
    this.asidPages.clear();
    this.linearPages.clear();
  }

  /** VMRUN with TLB_CONTROL 3. */
  flushAsid(asid: number): void {
    if (this.ignored.includes("TLB_CONTROL")) return;
    this.asidPages.delete(asid);
    this.linearPages.delete(asid);
  }
}
