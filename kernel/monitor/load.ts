/**
 * Starting a guest: its kernel's format is told by the file's content, in QEMU's order. Root has put the file and the
 * initrd into guest RAM as they are and has looked at neither.
 */
import { LAPIC_AREA } from "../abi/address";
import { Request } from "../abi/run";
import { LoadError, StopReason } from "../abi/stop";
import { VmFeature } from "../abi/vminfo";
import { buildCpuid } from "../vcpu/cpuid";
import { startTsc } from "../vcpu/clock";
import { Seg, UNUSABLE } from "../vcpu/system";
import { lapic, setVcpus } from "../device/apicbus";
import { resetLapic } from "../device/lapic";
import { Halted, Next, Vcpu, vcpuAt } from "../vcpu/vcpu";
import { settleApic, startTimes } from "./apic";
import { BZIMAGE_MIN, isBzImage, prepareBzImage, startBzImage } from "./bzimage";
import { isElf } from "./elf";
import { DATA_SELECTOR, GDT, GDT_LIMIT, info, vcpuCount } from "./layout";
import { findMultiboot, isMultiboot, prepareMultiboot, startMultiboot } from "./multiboot";
import { clearParts, placePiece } from "./parts";
import { resetPlatform } from "./platform";
import { preparePvh, startPvh } from "./pvh";

namespace Format {
  export const Unknown: u32 = 0;
  export const BzImage: u32 = 1;
  export const Multiboot: u32 = 2;
  export const Elf: u32 = 3;
}

namespace Phase {
  export const New: u32 = 0;
  /** The kernel is being put where it runs. */
  export const Placing: u32 = 1;
  export const Done: u32 = 2;
}


@unmanaged
class Load {
  phase: u32;
  format: u32;
}

const state = changetype<Load>(memory.data(8));

export function isLoaded(): bool {
  return state.phase == Phase.Done;
}

/** Does the next piece of the work. Resume: the vCPU's registers are ready; Yield: call again; Stop: it cannot boot. */
export function load(v: Vcpu): u32 {
  if (state.phase == Phase.New) {
    const error = prepare();
    if (error != LoadError.None) return v.stop(StopReason.LoadFailed, error);
    state.phase = Phase.Placing;
  }
  if (placePiece()) {
    v.request = Request.Continue;
    return Next.Yield;
  }
  start(v);
  state.phase = Phase.Done;
  return Next.Resume;
}

function formatOfFile(): u32 {
  if (isBzImage()) return Format.BzImage;
  if (findMultiboot() && isMultiboot()) return Format.Multiboot;
  return isElf() ? Format.Elf : Format.Unknown;
}

/** Checks the file and builds everything around the kernel. */
function prepare(): u32 {
  clearParts();
  state.format = formatOfFile();
  switch (state.format) {
    case Format.BzImage:
      return prepareBzImage();
    case Format.Multiboot:
      return prepareMultiboot();
    case Format.Elf:
      return preparePvh();
    default:
      return info.kernelSize < BZIMAGE_MIN ? LoadError.Truncated : LoadError.UnknownFormat;
  }
}

/** The vCPUs beside the first wait for a SIPI, as firmware leaves them. */
function resetVcpus(v: Vcpu, vcpus: u32): void {
  assert(<u32>__heap_base <= LAPIC_AREA, "the module's data run into the local APICs' pages");
  setVcpus(vcpus);
  for (let n: u32 = 0; n < vcpus; n++) {
    resetLapic(lapic(n), n);
    startTimes(vcpuAt(n));
    if (n) vcpuAt(n).halted = Halted.WaitForSipi;
  }
  settleApic(v);
}

/** Registers at the entry point: those of every format, then the format's own. */
export function setRegisters(v: Vcpu): void {
  const s = v.system;
  s.gdtrBase = GDT;
  s.gdtrLimit = GDT_LIMIT;
  s.idtrBase = 0;
  s.idtrLimit = 0;
  for (let n: u32 = 0; n < Seg.Count; n++) s.segment(n).set(DATA_SELECTOR, 0, 0xffffffff, 0xc093);
  s.segment(Seg.LDTR).set(0, 0, 0, UNUSABLE);
  s.segment(Seg.TR).set(0, 0, 0x67, 0x8b);
  v.rflags = 2;
  if (state.format == Format.BzImage) startBzImage(v);
  else if (state.format == Format.Multiboot) startMultiboot(v);
  else startPvh(v);
}

/** What is done once, before any guest code runs. */
function start(v: Vcpu): void {
  setRegisters(v);
  const vcpus = vcpuCount();
  for (let n: u32 = 0; n < vcpus; n++) startTsc(vcpuAt(n));
  buildCpuid(
    vcpus,
    info.guestTscHz,
    (info.features & VmFeature.Rdtscp) != 0,
    (info.features & VmFeature.Invpcid) != 0,
  );
  resetVcpus(v, vcpus);
  resetPlatform(info.bootTime, info.ramLow, info.ramHigh);
}
