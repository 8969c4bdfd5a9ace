// CUDA's words that C++ does not have.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __grid_constant__
#define __launch_bounds__(...)
#define __cluster_dims__(...)  // raw.py reads them
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))

// A block's static shared memory is the module's thread-local image, swapped with the block.
// `used`: the compiler must not conclude from what it sees that an array is never written.
#define __shared__ thread_local __attribute__((used))

#undef assert
#define assert(condition) \
    ((condition) ? (void)0 : emulator::fail("assertion failed: " #condition, __LINE__))

#define EMULATOR_EXPORTED extern "C" __attribute__((visibility("default")))  // for raw.py

// What the emulator itself does with memory is no access of the kernel.
#define EMULATOR_UNCHECKED __attribute__((no_sanitize("thread")))
