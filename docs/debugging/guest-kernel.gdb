# Stops in a function of the guest's kernel, by its name, and says who called it: scripts/debug --script ...
guest-kernel
# The first program that writes something, which is /init.
break ksys_write
continue
backtrace
printf "%d bytes: ", (int)$rdx
output *(char *)$rsi@(int)$rdx
echo \n
