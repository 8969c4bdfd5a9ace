#pragma once
#include "recurrent.cuh"

// The bits of a number in an order that is that of the numbers, 0 and -0 being one; ~0 if it is not finite; and back.
__device__ __forceinline__ u64 ranked(float y) {
  u32 bits = __float_as_uint(y), sign = 1u << 31;
  if (bits == sign) bits = 0;
  return (bits & ~sign) >= 0x7f800000u ? ~0ull : bits & sign ? ~bits : bits | sign;
}
__device__ __forceinline__ u64 ranked(double y) {
  u64 bits = u64(__double_as_longlong(y)), sign = 1ull << 63;
  if (bits == sign) bits = 0;
  return (bits & ~sign) >= 0x7ff0000000000000ull ? ~0ull : bits & sign ? ~bits : bits | sign;
}
__device__ __forceinline__ void number_of(u64 rank, float& y) {
  y = __uint_as_float(rank >> 31 ? u32(rank) ^ 1u << 31 : ~u32(rank));
}
__device__ __forceinline__ void number_of(u64 rank, double& y) {
  y = __longlong_as_double(i64(rank >> 63 ? rank ^ 1ull << 63 : ~rank));
}

// The threads that draw a token, a warp or a block.  partial: a value a warp of shared memory, for a block.
struct Group {
  bool block;
  u64* partial;

  __device__ __forceinline__ int size() const { return block ? CELL_THREADS : WARP; }
  __device__ __forceinline__ int lane() const { return block ? threadIdx.x : threadIdx.x % WARP; }
  // Number of this one, and of all.
  __device__ __forceinline__ int number() const { return block ? 0 : threadIdx.x / WARP; }
  __device__ __forceinline__ int count() const { return block ? 1 : WARPS; }

  // The largest value of all threads.
  __device__ __forceinline__ u64 largest(u64 value) const {
    for (int distance = WARP / 2; distance; distance /= 2) value = max(value, __shfl_xor_sync(ALL, value, distance));
    if (!block) return value;
    if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = value;
    __syncthreads();
    for (int warp = 0; warp < WARPS; warp++) value = max(value, partial[warp]);
    __syncthreads();
    return value;
  }

  // The sum of the values of the threads before this one; total: that of all.
  __device__ __forceinline__ u64 sum_before(u64 value, u64& total) const {
    int lane = threadIdx.x % WARP;
    u64 sum = value;
    for (int distance = 1; distance < WARP; distance *= 2) {
      u64 other = __shfl_up_sync(ALL, sum, distance);
      if (lane >= distance) sum += other;
    }
    total = __shfl_sync(ALL, sum, WARP - 1);
    if (block) {
      if (lane == 0) partial[threadIdx.x / WARP] = total;
      __syncthreads();
      total = 0;
      for (int warp = 0; warp < WARPS; warp++) {
        if (warp == threadIdx.x / WARP) sum += total;
        total += partial[warp];
      }
      __syncthreads();
    }
    return sum - value;
  }
};

// Up to FEW WARP logits are sorted by a warp, which takes 28 exchanges of a lane's keys; of more the rank of the last one
// that is kept is found bit by bit, which takes a sum over the warp for each bit.
inline constexpr int FEW = 4;

// Sorts the keys e WARP + lane of a warp, largest first.
__device__ __forceinline__ void sort_keys(u64 (&keys)[FEW]) {
  int lane = threadIdx.x % WARP;
#pragma unroll
  for (int run = 2; run <= FEW * WARP; run *= 2)
#pragma unroll
    for (int distance = run / 2; distance; distance /= 2) {
      u64 others[FEW];
#pragma unroll
      for (int e = 0; e < FEW; e++)
        others[e] = distance < WARP ? __shfl_xor_sync(ALL, keys[e], distance) : keys[e ^ distance / WARP];
#pragma unroll
      for (int e = 0; e < FEW; e++) {
        int place = e * WARP + lane;
        bool larger = ((place & run) == 0) == ((place & distance) == 0);  // of the two this place gets
        keys[e] = larger ? max(keys[e], others[e]) : min(keys[e], others[e]);
      }
    }
}

// Of the i <= FEW WARP logits y, none infinite, the rank of the last one that top_k and then top_p keep, and how many of
// this rank are kept, by a warp.
template <class Weight>
__device__ __forceinline__ void cut_few(Group group, const float* y, int i, i64 top_k, u64 top_p, Weight weight, u64& cut,
                                        u64& equal) {
  int lane = threadIdx.x % WARP;
  u64 keys[FEW], weights[FEW], before[FEW], all = 0;
#pragma unroll
  for (int e = 0; e < FEW; e++) {
    int j = e * WARP + lane;
    keys[e] = j < i ? ranked(y[j]) << 32 | u32(i - j) : 0;  // of equal ones the first comes first
  }
  sort_keys(keys);
#pragma unroll
  for (int e = 0; e < FEW; e++) {
    float value;
    number_of(keys[e] >> 32, value);
    weights[e] = keys[e] && e * WARP + lane < top_k ? weight(value) : 0;
    u64 total;
    before[e] = all + group.sum_before(weights[e], total);
    all += total;
  }
  // With all of top_p only tokens without weight would go.
  u64 enough = top_p == ~0ull ? ~0ull : __umul64hi(all, top_p);
  cut = ~0ull;
#pragma unroll
  for (int e = 0; e < FEW; e++) {
    bool kept = keys[e] && e * WARP + lane < top_k && before[e] <= enough;
    u32 lanes = __ballot_sync(ALL, kept);
    if (lanes) cut = __shfl_sync(ALL, keys[e] >> 32, 31 - __clz(int(lanes)));
  }
  equal = 0;
#pragma unroll
  for (int e = 0; e < FEW; e++)
    equal += __popc(__ballot_sync(ALL, keys[e] >> 32 == cut && e * WARP + lane < top_k && before[e] <= enough));
}

// The token that 64 random bits choose from logits y (i), as in kernels/reference/generation.py, in each thread of the
// group; -1 if one is not finite.  inverse: 1 / temperature.
template <class T>
__device__ __noinline__ int choose(Group group, const T* y, int i, T inverse, i64 top_k, u64 top_p, u64 random) {
  int lane = group.lane(), threads = group.size();
  u64 top = 0;
  for (int j = lane; j < i; j += threads) top = max(top, ranked(y[j]));
  top = group.largest(top);
  if (top == ~0ull) return -1;
  T largest;
  number_of(top, largest);
  auto weight = [&](T value) { return u64(exponential((value - largest) * inverse) * T(4294967296.0)); };
  // How many tokens have this rank or a higher one, or the sum of their weights.
  auto total_from = [&](u64 rank, bool weighted) {
    u64 own = 0, total;
    for (int j = lane; j < i; j += threads)
      if (ranked(y[j]) >= rank) own += weighted ? weight(y[j]) : 1;
    group.sum_before(own, total);
    return total;
  };
  // Kept are the tokens of ranks above `cut` and the first `equal` of this one.
  u64 cut = 0, equal = 0;
  if (top_k == 1) {
    cut = top;
    equal = 1;
  }
  bool few = false;
  if constexpr (sizeof(T) == 4) {
    few = !group.block && i <= FEW * WARP && top_k != 1 && (top_k < i || top_p != ~0ull);
    if (few) cut_few(group, y, i, top_k, top_p, weight, cut, equal);
  }
  for (int weighted = few ? 2 : 0; weighted < 2; weighted++) {
    // With all of top_p only tokens without weight would go.
    if (weighted ? top_p == ~0ull : top_k == 1 || top_k >= i) continue;
    T value;
    number_of(cut, value);
    u64 enough =
        weighted ? __umul64hi(total_from(cut + 1, true) + (equal ? equal * weight(value) : 0), top_p) : top_k - 1;
    // The highest rank from which on there is more than enough; the last one found to be too high is the next.
    u64 rank = 0, above = 0;
    for (u64 bit = 1ull << (8 * sizeof(T) - 1); bit; bit /= 2) {
      u64 higher = rank | bit, total = higher > top ? 0 : higher > cut ? total_from(higher, weighted) : ~0ull;
      if (total > enough)
        rank = higher;
      else
        above = total;
    }
    cut = rank;
    number_of(cut, value);
    equal = (enough - above) / (weighted ? weight(value) : 1) + 1;
  }

  int run = (i + threads - 1) / threads, first = min(i, lane * run), last = min(i, first + run);
  u64 met = 0, own = 0, total;
  if (equal) {
    for (int j = first; j < last; j++) met += ranked(y[j]) == cut;
    met = group.sum_before(met, total);
  }
  auto kept_weight = [&](int j, u64& met) {
    u64 rank = ranked(y[j]);
    return rank > cut || (rank == cut && met++ < equal) ? weight(y[j]) : 0;
  };
  u64 again = met;
  for (int j = first; j < last; j++) own += kept_weight(j, met);
  u64 sum = group.sum_before(own, total), target = __umul64hi(total, random);
  int token = -1;  // of which one thread knows
  if (sum <= target && target - sum < own)
    for (token = first; (sum += kept_weight(token, again)) <= target;) token++;
  return int(group.largest(u64(token + 1))) - 1;
}
