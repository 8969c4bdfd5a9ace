// CUDA C++ for the CPU: included before a kernel's source, which is then C++17.  Each thread is a fiber.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <limits>
#include <type_traits>
#include <utility>

#undef INFINITY  // nor has NVRTC these
#undef NAN
#undef M_PI

#include "language.h"
#include "vector_types.h"

#include "runtime.h"

#include "barriers.h"
#include "clusters.h"
#include "intrinsics.h"
#include "warp.h"

#include "atomics.h"
#include "async_copy.h"
#include "async_stores.h"
#include "tensor_cores.h"

#include "launch.h"
