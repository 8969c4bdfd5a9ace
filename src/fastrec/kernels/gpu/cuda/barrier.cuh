#pragma once
#include "common.cuh"

// The barrier of blocks that all run at once.  arrived counts up and is never reset: with each barrier it grows by the
// number of blocks.  What was written before is seen after, by plain loads too, but not by loads through the
// read-only path.  Release and acquire are cumulative over __syncthreads: one thread orders for its whole block.

__device__ __forceinline__ void arrive(u32* arrived) {
#ifdef FASTREC_EMULATOR
  emulator::add_release(arrived, 1);
#else
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrived) : "memory");
#endif
}

__device__ __forceinline__ u32 arrivals(const u32* arrived) {
#ifdef FASTREC_EMULATOR
  return emulator::load_acquire(arrived);
#else
  u32 count;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(count) : "l"(arrived) : "memory");
  return count;
#endif
}

struct Barrier {
  u32* arrived;
  u32 blocks;
  u32 expected;  // starts as 0 with *arrived 0

  __device__ void wait() {
    expected += blocks;
    __syncthreads();
    if (threadIdx.x == 0) {
      arrive(arrived);
      while (int(arrivals(arrived) - expected) < 0) __nanosleep(20);
    }
    __syncthreads();
  }
};
