# Follow a second vCPU into the guest's kernel: scripts/debug --cpus 2 --script docs/debugging/second-vcpu.gdb
guest-kernel
break start_secondary
continue
info threads
backtrace 2

# Who has started it waits for it.
guest 0.0
backtrace 4

# A step of one of them, while the others run on; and of it alone.
guest 0.1
stepi
set scheduler-locking on
stepi
set scheduler-locking off

# And the other one of it, later: what init writes.
delete
tbreak ksys_write
continue
monitor vms
