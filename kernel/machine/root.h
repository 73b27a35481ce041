/* Everything that root may import. */
#pragma once
#include "cpu.h"
#include "cpuid.h"
#include "env.h"
#include "image.h"
#include "msr.h"
#include "phys.h"
#include "port.h"
#include "state.h"
#include "svm.h"
#include "time.h"
#include "vmx.h"
