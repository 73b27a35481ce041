# Stops in the handler of the guest's CPUID, on a line of TypeScript, and prints its variables: scripts/debug --og --script ...
hypervisor
hbreak kernel/vcpu/cpuid.ts:376
continue
info args
info locals
backtrace
# What the guest asked for.
guest
printf "the guest is at %#lx and asks for leaf %#lx\n", $rip, $rax
x/i $rip
