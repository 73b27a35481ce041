"""GDB commands for a guest's Linux kernel: in GDB, "source tools/debug/guest.py" (docs/guest-symbols.md)."""

import json
import struct

import gdb
from gdb.FrameDecorator import FrameDecorator

KERNEL_START = 0xFFFFFFFF80000000  # of the 1 GiB in which a kernel puts itself at random
KERNEL_END = 0xFFFFFFFFC0000000
ALIGNMENT = 0x200000  # CONFIG_PHYSICAL_ALIGN
NEAR = 64 << 20  # more than a kernel has of code
ANY_BANNER = b"Linux version "


def about(path):
    """What scripts/kernel-symbols says in the file of the kernel: section .typevisor.kernel."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise gdb.GdbError(f"{path}: cannot be read ({error.strerror})")
    try:
        return json.loads(section(data, b".typevisor.kernel"))
    except (struct.error, ValueError, IndexError):
        raise gdb.GdbError(f"{path}: not a file of scripts/kernel-symbols")


def section(data, name):
    """The contents of a section of an ELF file."""
    if data[:4] != b"\x7fELF":
        raise ValueError
    (table,) = struct.unpack_from("<Q", data, 40)
    count, names_index = struct.unpack_from("<HH", data, 60)
    headers = [struct.unpack_from("<IIQQQQ", data, table + i * 64) for i in range(count)]
    names = headers[names_index][4]
    for header in headers:
        if data[names + header[0] : names + header[0] + len(name) + 1] == name + b"\0":
            return data[header[4] : header[4] + header[5]]
    raise ValueError


def read(address, length):
    """The guest's memory, or nothing where none is mapped."""
    try:
        return gdb.selected_inferior().read_memory(address, length).tobytes()
    except gdb.MemoryError:
        return b""


def find_slide(path, kernel):
    """How much higher the kernel runs than it was linked: where its banner is decides."""
    if not gdb.selected_inferior().pid:
        raise gdb.GdbError("there is no guest: connect to it first (target remote)")
    link = int(kernel["banner"]["address"], 16)
    text = int(kernel["text"], 16)
    banner = kernel["banner"]["text"].encode("latin1")
    other = None
    pc = int(gdb.parse_and_eval("(unsigned long) $pc"))
    in_kernel = KERNEL_START <= pc < KERNEL_END
    # It starts somewhat below where it runs: every look is a packet, which takes its time on a serial line. Else most
    # often it is where it was linked, or from there up.
    nearest = range(pc & -ALIGNMENT, max(KERNEL_START, pc - NEAR), -ALIGNMENT) if in_kernel else ()
    for start in dict.fromkeys(
        [*nearest, *range(text, KERNEL_END, ALIGNMENT), *range(KERNEL_START, text, ALIGNMENT)]
    ):
        there = link + start - text
        if read(there, len(ANY_BANNER)) != ANY_BANNER:
            continue
        found = read(there, len(banner))
        if found == banner:
            return start - text
        other = found.decode("latin1").split("\n")[0]
    if other is not None:
        raise gdb.GdbError(f'{path} is of another kernel: the guest runs "{other}"')
    if in_kernel:
        raise gdb.GdbError(f"{path} is of another kernel than the guest's, which is at {pc:#x}: make it from that one")
    raise gdb.GdbError(
        "the guest's kernel is not mapped yet, or not while a program runs: "
        "continue, interrupt it a little later, and try again"
    )


class GuestSymbols(gdb.Command):
    """Find the guest's kernel in memory and load its symbols.

    guest-symbols FILE

FILE is what scripts/kernel-symbols wrote for the kernel that runs. The kernel has to run already: at a
random address, which is found, and is $guest_slide higher than the one it was linked for."""

    def __init__(self):
        super().__init__("guest-symbols", gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if len(words) != 1:
            raise gdb.GdbError("usage: guest-symbols FILE")
        kernel = about(words[0])
        slide = find_slide(words[0], kernel)
        quoted = words[0].replace("\\", "\\\\").replace('"', '\\"')
        gdb.execute(f'symbol-file -o {slide} "{quoted}"', False, True)
        gdb.set_convenience_variable("guest_slide", slide)
        start = int(kernel["text"], 16) + slide
        print(f"guest kernel at {start:#x}: slide {slide:#x}, {kernel['symbols']} symbols")


GuestSymbols()


class KernelFrames:
    """How backtraces of the kernel are shown.

    GDB says only "<signal handler called>" for an interrupt, which has a name. It guesses at the frames of programs,
    of which it knows nothing: the first is where the program entered the kernel, and the last one that is shown."""

    name = "typevisor-kernel"
    priority = 50
    enabled = True

    def filter(self, frames):
        in_kernel = False
        for frame in frames:
            of_program = frame.inferior_frame().pc() < KERNEL_START
            yield Named(frame)
            if in_kernel and of_program:
                return
            in_kernel = in_kernel or not of_program


class Named(FrameDecorator):
    def function(self):
        return self.inferior_frame().name() or "??"


gdb.frame_filters[KernelFrames.name] = KernelFrames()
