/** GRUB's menu on a USB stick. Guests are found when it is shown: who copies a folder to /guests has an entry more. */

/** Where things are on the stick; the people's page for them is docs/test-machine.md. */
export const stickPaths = {
  hypervisor: "/typevisor/typevisor",
  lines: "/typevisor/typevisor.lines",
  settings: "/settings.txt",
  readme: "/README.txt",
  menu: "/boot/grub/grub.cfg",
  memoryTest: "/boot/memtest86+.bin",
  uefiLoader: "/EFI/BOOT/BOOTX64.EFI",
  kernel: (guest: string) => `/guests/${guest}/kernel`,
  initrd: (guest: string) => `/guests/${guest}/initrd`,
} as const;

/** Run by GRUB before it has a menu: the file system is the one that GRUB came from, else any with the hypervisor. */
export const loadConfig = `search.file ${stickPaths.hypervisor} root $root
set prefix=($root)/boot/grub
`;

/** What the menu uses; GRUB's own files hold no more, so that nothing has to be loaded. */
export const menuModules = [
  ...["normal", "configfile", "search", "search_fs_file", "part_msdos", "fat", "regexp", "test", "true"],
  ...["multiboot2", "linux", "boot", "serial", "terminal", "echo", "sleep", "ls", "cat", "reboot", "halt"],
  "all_video",
] as const;

/** Seconds. */
const timeout = 5;

/** The menu's text. Its lines end with LF alone: GRUB takes a CR for a part of the word before it. */
export const stickMenu = `# The menu of a Typevisor stick (docs/test-machine.md). Keep the line ends as they are: LF, without CR.

# Not every machine has a serial port; a screen it has.
if serial --unit=0 --speed=115200; then
  terminal_input console serial
  terminal_output console serial
fi

set timeout=${timeout}
set default=0

# Loads the hypervisor with the words in $words, and the guest whose folder is $1 (nothing: no guest).
function load {
  echo "Typevisor $words"
  multiboot2 ${stickPaths.hypervisor} $words
  if [ -f ${stickPaths.settings} ]; then module2 ${stickPaths.settings} settings; fi
  if [ -f ${stickPaths.lines} ]; then module2 ${stickPaths.lines} lines; fi
  if [ -n "$1" ]; then
    module2 "$1/kernel" kernel
    if [ -f "$1/initrd" ]; then module2 "$1/initrd" initrd; fi
  fi
  # How GRUB hands the screen over: text where there is text. (multiboot2 sets it too, so it comes last.)
  if [ "$grub_platform" != efi ]; then set gfxpayload=text; fi
}

for kernel in /guests/*/kernel; do
  if regexp --set=1:folder --set=2:name '^(/guests/(.*))/kernel$' "$kernel"; then
    menuentry "Typevisor with $name" "$folder" { set words=""; load "$2"; }
  fi
done
for kernel in /guests/*/kernel; do
  if regexp --set=1:folder --set=2:name '^(/guests/(.*))/kernel$' "$kernel"; then
    menuentry "Typevisor with $name, debug messages on the serial port" "$folder" --hotkey=d {
      set words="loglvl=debug console=com1"; load "$2"
    }
  fi
done
menuentry "Preflight only: what this machine offers" --hotkey=p { set words="preflight=only"; load "" }
if [ -f ${stickPaths.memoryTest} ]; then
  menuentry "Memory test (memtest86+)" --hotkey=m { set gfxpayload=keep; linux ${stickPaths.memoryTest} }
fi
`;
