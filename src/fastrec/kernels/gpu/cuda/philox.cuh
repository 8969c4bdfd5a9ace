#pragma once
#include "common.cuh"

// Philox4x32-10 (Salmon et al., SC 2011), counter (block, row, network, stream | step << 8).

struct Draws {
  u64 first, second;
  __device__ u64 operator[](int i) const { return i ? second : first; }
};

__device__ __forceinline__ Draws philox4x32(u64 key, u32 c0, u32 c1, u32 c2, u32 c3) {
  u32 k0 = u32(key), k1 = u32(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    u64 a = u64(0xD2511F53u) * c0, b = u64(0xCD9E8D57u) * c2;
    c0 = u32(b >> 32) ^ c1 ^ k0;
    c1 = u32(b);
    c2 = u32(a >> 32) ^ c3 ^ k1;
    c3 = u32(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0 | u64(c1) << 32, c2 | u64(c3) << 32};
}

__device__ __forceinline__ u32 tag(Stream stream, i64 step) { return u32(stream) | u32(step) << 8; }

// Draw number i of a stream.
__device__ __forceinline__ u64 draw(u64 key, i64 i, i64 row, i64 network, u32 tag) {
  return philox4x32(key, u32(i / 2), u32(row), u32(network), tag)[i & 1];
}

// Sets `flips` distinct random bits of flipped (n bits, zero before), by one warp: Floyd's sampling, 32 draws
// at a time.  A lane's unit is taken if an earlier group set it or an earlier lane of this group chose it.
__device__ inline void choose_units(u64 key, i64 row, i64 network, i64 step, i64 flips, i64 n, u64* flipped) {
  int lane = threadIdx.x % WARP;
  for (i64 first = 0; first < flips; first += WARP) {
    i64 last = n - flips + first + lane;
    bool drawn = first + lane < flips;
    i64 unit = drawn ? i64(__umul64hi(draw(key, first + lane, row, network, tag(CORRUPT, step)), last + 1)) : -1;
    bool taken = drawn && bit(flipped, unit);
    __syncwarp();
    for (int earlier = 0; earlier < WARP; earlier++) {
      // The lanes before `earlier` have settled; it tells its choice to those after it.
      i64 choice = __shfl_sync(ALL, taken ? last : unit, earlier);
      if (lane > earlier && unit == choice) taken = true;
    }
    i64 choice = taken ? last : unit;
    if (drawn) atomicOr(&flipped[choice >> 6], 1ull << (choice & 63));
    __syncwarp();
  }
}
