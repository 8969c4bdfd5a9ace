#pragma once
#include "common.cuh"

// Copies from global to shared memory that go on beside the work: PTX, with a twin each for the emulator of the tests.

// A value of 4 or 8 bytes from global to shared memory, or zeros where there is none to read.  L2 reads the 128 bytes
// around it, for most often they are next.
template <class T> __device__ __forceinline__ void copy_value(T* shared, const T* global, bool there = true) {
#ifdef FASTREC_EMULATOR
  emulator::copy_async(shared, global, sizeof(T), there ? sizeof(T) : 0);
#else
  asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], %2, %3;" ::"r"(u32(__cvta_generic_to_shared(shared))),
               "l"(global), "n"(sizeof(T)), "r"(there ? int(sizeof(T)) : 0)
               : "memory");
#endif
}

__device__ __forceinline__ void copy_commit() {
#ifdef FASTREC_EMULATOR
  emulator::copy_async_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most `pending` of this thread's groups of copies are under way.
template <int pending> __device__ __forceinline__ void copy_wait() {
#ifdef FASTREC_EMULATOR
  emulator::copy_async_wait(pending);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}
