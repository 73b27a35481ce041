#include "types.h"

#define PORT_ACCESS(bits, suffix)                                                                              \
  INTRINSIC u32 port_in##bits(u32 port) {                                                                      \
    u##bits value;                                                                                             \
    __asm__ volatile("in" suffix " %1, %0" : "=a"(value) : "Nd"((u16)port));                                    \
    return value;                                                                                              \
  }                                                                                                            \
  INTRINSIC void port_out##bits(u32 port, u32 value) {                                                         \
    __asm__ volatile("out" suffix " %0, %1" : : "a"((u##bits)value), "Nd"((u16)port));                          \
  }
PORT_ACCESS(8, "b")
PORT_ACCESS(16, "w")
PORT_ACCESS(32, "l")
