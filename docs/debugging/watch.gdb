# Stops when the guest, by whatever address, writes to a place in its physical memory: scripts/debug --script ...
guest-kernel
printf "the kernel counts its ticks at guest-physical %#lx\n", $physical(&jiffies_64)
eval "monitor watch %#lx 8 w", $physical(&jiffies_64)
continue
backtrace 4
monitor watches
monitor unwatch
# The same by the address that the kernel uses: with a debug register.
watch *(long *)&jiffies_64
continue
x/i $rip
