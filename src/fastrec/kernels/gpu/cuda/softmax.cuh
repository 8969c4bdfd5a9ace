#pragma once
#include "common.cuh"

// The largest value of a warp, in each thread.
template <class T> __device__ __forceinline__ T warp_largest(T value) {
  for (int distance = WARP / 2; distance; distance /= 2) {
    T other = __shfl_xor_sync(ALL, value, distance);
    value = other > value ? other : value;
  }
  return value;
}

// scores (n) become their softmax, by a warp.
template <class T> __device__ __forceinline__ void warp_softmax(T* scores, i64 n) {
  // Each thread reads only what it writes itself, so that the warp need not wait.
  T top = sizeof(T) == 4 ? T(-3.402823466e38f) : T(-1.7976931348623157e308), total = 0;
  for (i64 j = threadIdx.x % WARP; j < n; j += WARP) top = scores[j] > top ? scores[j] : top;
  top = warp_largest(top);
  for (i64 j = threadIdx.x % WARP; j < n; j += WARP) total += scores[j] = exp(scores[j] - top);
  T share = 1 / warp_sum(total);
  for (i64 j = threadIdx.x % WARP; j < n; j += WARP) scores[j] *= share;
}
