#pragma once
#include "mma.cuh"

// Local fields h_i = sum over patterns of m x_i from packed units: with m in binary, m = sum_j 2^j plane_j (the top
// plane negative), sum over set bits of m = sum_j 2^j |x_i and plane_j|: products of bits again, a column a plane.
// The field with the self-coupling in is twice that, less the sum of all m.
//
// NT: planes are made in groups of 8, 8 NT of them, enough for m within its bounds: -n..n if it is an overlap.

// The sums of m over the set bits of 16 units, rows of u words, by one warp, over the words first..last-1 in steps
// of 4, so many of them in registers at once.  unit(i): where unit i of the 16 begins, nullptr for none; planes
// (8 NT, u).  Lanes 4 g hold units g, g + 8.
template <int NT, int AT_ONCE = 4, class Unit>
__device__ __forceinline__ void plane_sums(Unit unit, const u64* planes, i64 u, i64 first, i64 last, i64 (&sum)[2]) {
  int lane = threadIdx.x % WARP, group = lane / 4, quad = lane % 4;
  int acc[NT][4] = {};
  const u64 *low = unit(group), *high = unit(group + 8);
#pragma unroll AT_ONCE
  for (i64 word = first; word < last; word += 4) {
    bool inside = word + quad < u;
    u32 a[4], b[NT][2];
    spread(inside && low ? __ldg(low + word + quad) : 0, a[0], a[2]);
    spread(inside && high ? __ldg(high + word + quad) : 0, a[1], a[3]);
#pragma unroll
    for (int t = 0; t < NT; t++) {
      // Planes are rewritten by other blocks while a kernel that meets at barriers runs: past L1.
      u64 plane = inside ? __ldcg(planes + (8 * t + group) * u + word + quad) : 0;
      spread(plane, b[t][0], b[t][1]);
    }
#pragma unroll
    for (int t = 0; t < NT; t++) mma_bits(acc[t], a, b[t]);
  }
#pragma unroll
  for (int half = 0; half < 2; half++) {
    i64 total = 0;
#pragma unroll
    for (int t = 0; t < NT; t++)
#pragma unroll
      for (int next = 0; next < 2; next++) {
        int plane = 8 * t + 2 * quad + next;
        i64 part = i64(acc[t][2 * half + next]) << plane;
        total += plane == 8 * NT - 1 ? -part : part;
      }
    total += __shfl_xor_sync(ALL, total, 1);
    sum[half] = total + __shfl_xor_sync(ALL, total, 2);
  }
}

// Writes the planes of 32 overlaps, one a lane (0 beyond p), to planes (8 NT, 2 u halves of words).
template <int NT> __device__ __forceinline__ void write_planes(int m, i64 half_word, i64 u, u32* planes) {
  int lane = threadIdx.x % WARP;
  u32 own = 0;
#pragma unroll
  for (int plane = 0; plane < 8 * NT; plane++) {
    u32 word = __ballot_sync(ALL, m >> plane & 1);
    if (lane == plane) own = word;
  }
  if (lane < 8 * NT) __stcg(planes + lane * 2 * u + half_word, own);
}
