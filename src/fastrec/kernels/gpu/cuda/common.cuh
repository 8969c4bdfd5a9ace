#pragma once
// Types, bits and sums that the kernels share.  n neurons, p patterns, b rows, k networks, w words of a packed
// state, u words of a packed unit; a row of a batch is numbered through all networks.

typedef unsigned u32;
typedef unsigned long long u64;
typedef long long i64;

inline constexpr u32 ALL = 0xffffffffu;
inline constexpr int WARP = 32;

enum Stream { PATTERN = 1, CORRUPT = 2, ORDER = 3, SAMPLE = 5, DROPOUT = 6, BIASED = 7, GLAUBER = 8, NOISE = 9 };

// Number of this thread in the grid, and of all threads.
__device__ __forceinline__ i64 thread_number() { return i64(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ i64 thread_count() { return i64(gridDim.x) * blockDim.x; }

// Bit i of a packed row, and the sign it stands for.
__device__ __forceinline__ int bit(const u64* row, i64 i) { return int(row[i >> 6] >> (i & 63) & 1); }
__device__ __forceinline__ int sign(const u64* row, i64 i) { return 2 * bit(row, i) - 1; }

// What others may be changing by atomics meanwhile, read past L1 as it is at some moment.
template <class T> __device__ __forceinline__ T peek(const T* place) {
  return *static_cast<const volatile T*>(place);
}

// The bits below the first `bits` of word number `word`.
__device__ __forceinline__ u64 mask_below(i64 bits, i64 word) {
  i64 left = bits - 64 * word;
  return left >= 64 ? ~0ull : left <= 0 ? 0 : (1ull << left) - 1;
}

// i / d in two instructions, for i d < 2^31, with the inverse of d at hand: a division takes twenty.
__device__ __forceinline__ u32 inverse_of(int d) { return ((1u << 31) + d - 1) / d; }
__device__ __forceinline__ int divided(int i, u32 inverse) { return int(__umulhi(2 * i, inverse)); }

template <class T> __device__ __forceinline__ T warp_sum(T value) {
  for (int distance = WARP / 2; distance; distance /= 2) value += __shfl_xor_sync(ALL, value, distance);
  return value;
}

// The sum of value over the block, in every thread.  partial: 32 values of shared memory, free at the call;
// they may be used again after the next barrier.
template <class T> __device__ __forceinline__ T block_sum(T value, T* partial) {
  value = warp_sum(value);
  if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = value;
  __syncthreads();
  T total = 0;
  for (int warp = 0; warp < blockDim.x / WARP; warp++) total += partial[warp];
  return total;
}

// Memory of a block: shared if scratch is null, else its part of scratch.  bytes a multiple of 8.
__device__ __forceinline__ unsigned char* own_memory(unsigned char* scratch, i64 bytes) {
  extern __shared__ __align__(16) unsigned char shared[];
  return scratch ? scratch + blockIdx.x * bytes : shared;
}
