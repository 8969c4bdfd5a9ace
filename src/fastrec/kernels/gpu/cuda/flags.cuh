#pragma once
#include "common.cuh"

// Words that blocks which run at once hand to each other through global memory, each with the number of its message
// beside it in one store of 64 bits: who reads the number has the word, without a barrier or a fence.  Numbers
// begin with 1, in zeroed memory.  A place may be used again for the next message but one, once every reader of the
// first has been heard of in the second.
//
// The second use is right on hardware, but not by PTX's memory model alone: a relaxed load by one thread, bar.sync, then
// a relaxed store by another thread of the block gives no causality order there, so that in theory the store might be
// seen by the load.  On a card the load has returned its value before that is compared, and the comparison ends before
// the barrier that the store waits for; no store is performed before the instructions that it depends on.

__device__ __forceinline__ void post(u64* place, u32 word, u32 number) {
  u64 both = u64(number) << 32 | word;
#ifdef FASTREC_EMULATOR
  emulator::store_relaxed(place, both);
#else
  asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(place), "l"(both) : "memory");
#endif
}

__device__ __forceinline__ u64 look(const u64* place) {
#ifdef FASTREC_EMULATOR
  return emulator::load_relaxed(place);
#else
  u64 both;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(both) : "l"(place) : "memory");
  return both;
#endif
}

// Calls take(i, word) for the words of a message, `all` of them at place(i), by THREADS threads.  Several are on their
// way at once, also those that are asked for again.
template <int THREADS, class Place, class Take>
__device__ __forceinline__ void receive(int all, u32 number, Place place, Take take) {
  constexpr int AT_ONCE = 16;
  for (int begin = threadIdx.x; begin < all; begin += AT_ONCE * THREADS) {
    u64 both[AT_ONCE];
#pragma unroll
    for (int next = 0; next < AT_ONCE; next++) {
      int i = begin + next * THREADS;
      both[next] = i < all ? look(place(i)) : u64(number) << 32;
    }
    for (;;) {
      bool late = false;
#pragma unroll
      for (int next = 0; next < AT_ONCE; next++) late |= u32(both[next] >> 32) != number;
      if (!late) break;
      __nanosleep(20);
#pragma unroll
      for (int next = 0; next < AT_ONCE; next++)
        if (u32(both[next] >> 32) != number) both[next] = look(place(begin + next * THREADS));
    }
#pragma unroll
    for (int next = 0; next < AT_ONCE; next++)
      if (int i = begin + next * THREADS; i < all) take(i, u32(both[next]));
  }
}
