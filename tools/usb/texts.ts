/** What people find on the stick to read and to edit. Lines end with CRLF: every editor shows them. */

const crlf = (text: string): string => text.replaceAll("\n", "\r\n");

/** settings.txt, which kernel/root/settings.ts reads. */
export function settingsText(guest: { memory: number; append: string }): string {
  return crlf(`# Typevisor's settings: one name=value a line. A line that starts with # is a comment.
# What else may stand here: docs/command-line.md. What GRUB's menu says on its own comes after this, and wins.

# The guests
memory=${guest.memory}M
#cpus=1
append=${guest.append}

# The hypervisor. Its log and the guests are on the first serial port and on the screen, unless told otherwise.
#console=com1,115200
#console=screen
#vmconsole=screen
#hostcpus=64
#loglvl=debug
#panic=reboot
`);
}

export const readmeText =
  crlf(`This stick boots Typevisor, a hypervisor, on a PC: choose it in the firmware's boot menu.
The PC needs VT-x or AMD-V switched on in its firmware's set-up, and Secure Boot off.

settings.txt            what the hypervisor and its guests are told; edit it with any editor
guests/NAME/kernel      a guest: a Linux kernel, a PVH ELF file or a multiboot kernel
guests/NAME/initrd      its initial RAM disk, if it has one; each folder here is an entry of the menu
typevisor/typevisor     the hypervisor; typevisor.lines, from the same build, names lines in its reports
boot/grub/grub.cfg      the menu; its lines must end with LF alone
boot/memtest86+.bin     the memory test
EFI/BOOT/BOOTX64.EFI    GRUB for UEFI; for BIOS it is in front of this partition
`);
