#pragma once
#include "common.cuh"

// Tensor-core products of bits, bytes, bf16 and tf32: PTX, with a twin each for the emulator of the tests.

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

// d += a b of 16 x 8: sums of products over 16 columns of bf16, two in a word, the first one low.  The order and the
// rounding of the sum are the card's own.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#ifdef FASTREC_EMULATOR
  auto out = emulator::mma_m16n8({{d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, __LINE__,
                                 emulator::dot_bf16);
  for (int i = 0; i < 4; i++) d[i] = out.d[i];
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// d += a b of 16 x 8: sums of products over 8 columns of tf32, one in a word.
__device__ __forceinline__ void mma_tf32(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#ifdef FASTREC_EMULATOR
  auto out = emulator::mma_m16n8({{d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, __LINE__,
                                 emulator::dot_tf32);
  for (int i = 0; i < 4; i++) d[i] = out.d[i];
#else
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// The nearest bf16, the even one of two as near, as its bits; two of them in a word; and back.
__device__ __forceinline__ unsigned short to_bf16(float x) {
#ifdef FASTREC_EMULATOR
  return emulator::to_bf16(x);
#else
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
#endif
}
__device__ __forceinline__ u32 to_bf16(float low, float high) {
#ifdef FASTREC_EMULATOR
  return u32(emulator::to_bf16(high)) << 16 | emulator::to_bf16(low);
#else
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#endif
}
__device__ __forceinline__ float from_bf16(unsigned short bits) { return __uint_as_float(u32(bits) << 16); }

// The nearest tf32, the one away from zero of two as near, as a word for mma_tf32.
__device__ __forceinline__ u32 to_tf32(float x) {
#ifdef FASTREC_EMULATOR
  return emulator::to_tf32(x);
#else
  u32 bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
#endif
}

// Four matrices of 8 rows of 16 bytes from shared memory: lane l names row l % 8 of matrix l / 8, and gets word l % 4
// of row l / 4 of each.  So lie the quarters of an mma's first factor, and two times the halves of its second.
__device__ __forceinline__ void load_matrices(u32 (&x)[4], const void* row) {
#ifdef FASTREC_EMULATOR
  auto words = emulator::matrix_words(row);
  for (int i = 0; i < 4; i++) x[i] = *words.word[i];
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(u32(__cvta_generic_to_shared(row)))
               : "memory");
#endif
}

// A word of 64 columns of bits as the halves of two fragment registers.  Which columns a register holds does not
// matter to a sum over all, as long as both factors agree: one load of 64 bits serves two registers.
__device__ __forceinline__ void spread(u64 word, u32& low, u32& high) {
  low = u32(word);
  high = u32(word >> 32);
}
