/* Everything that a monitor on AMD-V may import. The build refuses a module that imports anything else (tools/build). */
#pragma once
#include "cpuid.h"
#include "env.h"
#include "fpu.h"
#include "guest.h"
#include "time.h"
#include "vmcb.h"
