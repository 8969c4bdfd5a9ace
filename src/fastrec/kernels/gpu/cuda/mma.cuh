#pragma once
#include "common.cuh"

// Tensor-core products of bits and bytes, and the asynchronous copies that feed them: PTX, with a twin each for
// the emulator of the tests.

// d += a b of 16 x 8: counts of common bits over 256 columns of bits.
__device__ __forceinline__ void mma_bits(int (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#ifdef FASTREC_EMULATOR
  auto out = emulator::mma_m16n8({{d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, __LINE__,
                                 emulator::dot_b1_and);
  for (int i = 0; i < 4; i++) d[i] = out.d[i];
#else
  asm volatile(
      "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// d += a b of 16 x 8: sums of products over 32 columns of signed bytes.
__device__ __forceinline__ void mma_bytes(int (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#ifdef FASTREC_EMULATOR
  auto out = emulator::mma_m16n8({{d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, __LINE__,
                                 emulator::dot_s8);
  for (int i = 0; i < 4; i++) d[i] = out.d[i];
#else
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Eight bytes from global to shared memory, or zeros where there are none to read.
__device__ __forceinline__ void copy_word(u64* shared, const u64* global, bool there) {
#ifdef FASTREC_EMULATOR
  emulator::copy_async(shared, global, 8, there ? 8 : 0);
#else
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(u32(__cvta_generic_to_shared(shared))),
               "l"(global), "r"(there ? 8 : 0)
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

// A word of 64 columns of bits as the halves of two fragment registers.  Which columns a register holds does not
// matter to a sum over all, as long as both factors agree: one load of 64 bits serves two registers.
__device__ __forceinline__ void spread(u64 word, u32& low, u32& high) {
  low = u32(word);
  high = u32(word >> 32);
}
