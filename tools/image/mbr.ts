/**
 * The part of a disk before its first partition: GRUB's boot sector with the partition table in it, and GRUB's core image
 * in the sectors behind. One partition, of type 0Ch, active: Windows and macOS mount that type, where they leave EFh (EFI
 * system partition) alone; and firmware that boots from a stick looks for \EFI\BOOT on any FAT partition of it (UEFI 2.10
 * 3.5.1.1, Removable Media Boot Behavior). A BIOS may want a partition that is active.
 */
import { Refusal } from "../machine/errors.ts";

export const sectorBytes = 512;
/** Where the partition starts: at 1 MiB, where every partitioning program puts it. */
export const partitionStart = 2048;

const partitionTable = 446;
const diskSignature = 440;
/** FAT32 with LBA. */
const partitionType = 0x0c;
/** Where GRUB's boot sector jumps over its check of the drive number (GRUB_BOOT_MACHINE_DRIVE_CHECK). */
const driveCheck = 0x66;
const heads = 255;
const sectorsPerTrack = 63;

/**
 * Cylinder, head and sector as the table has them, for who still reads them; the last that can be said where the disk
 * has more.
 */
function chs(lba: number): [number, number, number] {
  const cylinder = Math.floor(lba / (heads * sectorsPerTrack));
  if (cylinder > 1023) return [heads - 1, 0xff, 0xff];
  const head = Math.floor(lba / sectorsPerTrack) % heads;
  const sector = (lba % sectorsPerTrack) + 1;
  return [head, sector | ((cylinder >> 8) << 6), cylinder & 0xff];
}

/**
 * The first sectors of a disk of so many sectors.
 * @param bootSector GRUB's boot.img, which loads the core image from sector 1 on
 * @param core GRUB's core.img
 * @throws a Refusal if GRUB's files are not what they should be
 */
export function diskStart(
  bootSector: Buffer,
  core: Buffer,
  { sectors, signature }: { sectors: number; signature: number },
): Buffer {
  if (bootSector.length !== sectorBytes || bootSector.readUInt16LE(510) !== 0xaa55)
    throw new Refusal("GRUB's boot.img is no boot sector of 512 bytes");
  const room = (partitionStart - 1) * sectorBytes;
  if (core.length > room)
    throw new Refusal(`GRUB's core image has ${core.length} bytes, expected ${room} at most`);
  const start = Buffer.concat([bootSector, core]);
  // Some BIOSes give a wrong drive number; GRUB's own installer leaves the check of it out on hard disks (NOP, NOP).
  start.writeUInt16LE(0x9090, driveCheck);
  start.writeUInt32LE(signature, diskSignature);
  start.fill(0, diskSignature + 4, 510);
  start.set([0x80, ...chs(partitionStart), partitionType, ...chs(sectors - 1)], partitionTable);
  start.writeUInt32LE(partitionStart, partitionTable + 8);
  start.writeUInt32LE(sectors - partitionStart, partitionTable + 12);
  return start;
}
