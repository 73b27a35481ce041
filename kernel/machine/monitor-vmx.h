/* Everything that a monitor on VT-x may import. The build refuses a module that imports anything else (tools/build). */
#pragma once
#include "cpuid.h"
#include "env.h"
#include "fpu.h"
#include "guest.h"
#include "registers.h"
#include "time.h"
#include "vmcs.h"
