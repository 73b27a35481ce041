"""GDB's side of scripts/debug: connects, and adds the commands that docs/debugging.md describes."""
import os
import re

import gdb

PROJECT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")


class Session:
    kernel = ""  # the file of the guest kernel's symbols


def connect(target):
    """Connects to the debugger's line; inferior 1 is the hypervisor, inferior 2 the first guest."""
    if not gdb.current_progspace().filename:
        gdb.execute(f"file {os.path.join(PROJECT, 'build/typevisor.debug')}")
    gdb.execute("set schedule-multiple on")  # a continue is everybody's, whoever is looked at
    gdb.execute("set suppress-cli-notifications on")
    gdb.execute(f"target remote {target}", to_string=True)
    for inferior in gdb.inferiors():
        if inferior.pid > 1:
            describe(inferior)
    select(2)
    gdb.execute("set suppress-cli-notifications off")


def describe(inferior):
    """GDB reads the description of the registers for the first process only: this makes it read another's."""
    try:
        inferior.threads()[0].switch()
    except gdb.error:
        pass  # it has taken the registers for another processor's
    gdb.execute("unset tdesc filename", to_string=True)


def select(number, vcpu=0):
    """Makes the thread of an inferior's CPU or vCPU the selected one."""
    for inferior in gdb.inferiors():
        if inferior.pid != number:
            continue
        for thread in inferior.threads():
            if thread.ptid[1] == vcpu + 1:
                thread.switch()
                return
        if inferior.threads():
            raise gdb.GdbError("there is no such vCPU: see info threads")
    raise gdb.GdbError("there is no such process any more: see info inferiors")


def go_on():
    """continue, without a word of where it stops."""
    gdb.execute("set suppress-cli-notifications on")
    gdb.execute("continue", to_string=True)
    gdb.execute("set suppress-cli-notifications off")


class Hypervisor(gdb.Command):
    """Go to the hypervisor's CPU: what it was doing when the machine stopped, in TypeScript."""

    def __init__(self):
        super().__init__("hypervisor", gdb.COMMAND_USER)

    def invoke(self, argument, from_tty):
        select(1)
        gdb.execute("frame")


class Guest(gdb.Command):
    """guest [N[.M]]: go to vCPU M of VM N, 0 unless told."""

    def __init__(self):
        super().__init__("guest", gdb.COMMAND_USER)

    def invoke(self, argument, from_tty):
        named = re.fullmatch(r"(\d+)(?:\.(\d+))?", argument or "0")
        if not named:
            raise gdb.GdbError("guest: expected the number of a VM, or VM.VCPU")
        select(2 + int(named[1]), int(named[2] or "0"))
        gdb.execute("frame")


class GuestKernel(gdb.Command):
    """guest-kernel [early]: let the guest boot until its kernel has patched itself, and read the kernel's symbols.

    Before that it would find a breakpoint in the code that it patches: with "early", which stops at the kernel's first
    exit from its own addresses, only hardware breakpoints (hbreak) are good."""

    # The end of start_kernel(): ftrace and alternatives are done, and the first process is not yet.
    PATCHED = "rest_init"

    def __init__(self):
        super().__init__("guest-kernel", gdb.COMMAND_USER)

    def invoke(self, argument, from_tty):
        if not Session.kernel:
            raise gdb.GdbError("guest-kernel: no symbols: the guest's kernel has no kallsyms")
        select(2)
        if argument not in ("", "early"):
            raise gdb.GdbError('guest-kernel: expected nothing, or "early"')
        gdb.execute("monitor catch kernel", to_string=True)
        go_on()
        gdb.execute(f"guest-symbols {Session.kernel}")
        if not argument:
            gdb.execute(f"thbreak {self.PATCHED}", to_string=True)
            go_on()


class Connect(gdb.Command):
    """typevisor-connect TARGET [SYMBOLS]: connect to a machine's debugger, for example at /dev/ttyUSB0 or HOST:PORT.

    SYMBOLS is what scripts/kernel-symbols wrote for the guest's kernel. The hypervisor's symbols are those of GDB's program, or
    of build/typevisor.debug."""

    def __init__(self):
        super().__init__("typevisor-connect", gdb.COMMAND_USER)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if len(words) not in (1, 2):
            raise gdb.GdbError("typevisor-connect: expected TARGET, and the guest's symbols or nothing")
        Session.kernel = words[1] if len(words) == 2 else ""
        connect(words[0])


class Physical(gdb.Function):
    """$physical(ADDRESS): where the guest's own page tables lead to from there, a guest-physical address."""

    def __init__(self):
        super().__init__("physical")

    def invoke(self, address):
        walk = gdb.execute(f"monitor walk {int(address) & (2**64 - 1):#x}", to_string=True)
        found = re.search(r"^guest-physical (0x[0-9a-f]+)", walk, re.MULTILINE)
        if not found:
            raise gdb.GdbError(f"$physical: not mapped: {int(address):#x}")
        return int(found.group(1), 16)


Connect()
Physical()
Hypervisor()
Guest()
GuestKernel()
