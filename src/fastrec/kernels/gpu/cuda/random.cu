// Philox streams made on the device: patterns, corruption, update orders.
#include "philox.cuh"

// Operations: 10 rounds of 2 multiplications and 6 more, for 128 bits written: the integer pipes are the limit, at about
// 1.5 TB/s of patterns.

// words (m, 4) from counters (m, 4).
__global__ void philox(u64 key, const u32* counters, i64 m, u32* words) {
  for (i64 i = thread_number(); i < m; i += thread_count()) {
    const u32* c = counters + 4 * i;
    Draws draws = philox4x32(key, c[0], c[1], c[2], c[3]);
    for (int j = 0; j < 4; j++) words[4 * i + j] = u32(draws[j / 2] >> 32 * (j % 2));
  }
}

// packed (k, p, w): the patterns 0..p-1 of the networks first..first+k-1, or of the networks trials (k) if given; a
// thread for two words.
__global__ void random_patterns(u64 key, i64 first, const i64* trials, i64 n, i64 k, i64 p, i64 w, u64* packed) {
  i64 pairs = (w + 1) / 2, all = k * p * pairs;
  for (i64 i = thread_number(); i < all; i += thread_count()) {
    i64 row = i / pairs, block = i % pairs;
    i64 network = trials ? trials[row / p] : first + row / p;
    Draws draws = philox4x32(key, u32(block), u32(row % p), u32(network), tag(PATTERN, 0));
    for (int j = 0; j < 2 && 2 * block + j < w; j++)
      packed[row * w + 2 * block + j] = draws[j] & mask_below(n, 2 * block + j);
  }
}

// The same with units that are +1 where a draw is below threshold; a thread for a word.
__global__ void biased_patterns(u64 key, i64 first, i64 n, u64 threshold, i64 k, i64 p, i64 w, u64* packed) {
  for (i64 i = thread_number(); i < k * p * w; i += thread_count()) {
    i64 row = i / w, word = i % w;
    u64 bits = 0;
    for (int block = 0; block < 32; block++) {
      Draws draws = philox4x32(key, u32(32 * word + block), u32(row % p), u32(first + row / p), tag(BIASED, 0));
      for (int j = 0; j < 2; j++) bits |= u64(draws[j] < threshold) << (2 * block + j);
    }
    packed[i] = bits & mask_below(n, word);
  }
}

// Flips `flips` units of the rows first..first + b - 1 of k networks, packed (k, b, w), a warp a row.  flipped
// (k b, w), zero, gets their bits.
__global__ void corrupt(u64 key, i64 first, i64 flips, i64 n, i64 k, i64 b, i64 w, u64* flipped, u64* packed) {
  i64 lane = threadIdx.x % WARP;
  for (i64 row = thread_number() / WARP; row < k * b; row += thread_count() / WARP) {
    choose_units(key, first + row % b, row / b, 0, flips, n, flipped + row * w);
    for (i64 word = lane; word < w; word += WARP) packed[row * w + word] ^= flipped[row * w + word];
  }
}

// The same for states (k, b, n); w is that of flipped.
__global__ void corrupt_states(u64 key, i64 first, i64 flips, i64 n, i64 k, i64 b, u64* flipped, signed char* states) {
  i64 lane = threadIdx.x % WARP, w = (n + 63) / 64;
  for (i64 row = thread_number() / WARP; row < k * b; row += thread_count() / WARP) {
    choose_units(key, first + row % b, row / b, 0, flips, n, flipped + row * w);
    for (i64 i = lane; i < n; i += WARP)
      if (bit(flipped + row * w, i)) states[row * n + i] = -states[row * n + i];
  }
}

inline constexpr int BUCKET = 1024;  // units that a bucket has room for, twice what it holds on average at most

// The draws of the units in `sweeps` orders, thrown into buckets by their high bits: the first pass of a sort.
// counts (sweeps, buckets), zero; draws, units (sweeps, buckets, BUCKET).  A bucket that overflowed, at 22
// standard deviations, would stop the program.  No work where remaining, if given, is zero.
__global__ void scatter_order(u64 key, i64 network, i64 step, i64 first_sweep, i64 sweeps, i64 n, i64 buckets,
                              const int* remaining, int* counts, u64* draws, int* units) {
  if (remaining && *remaining == 0) return;
  i64 pairs = (n + 1) / 2;
  for (i64 i = thread_number(); i < sweeps * pairs; i += thread_count()) {
    i64 sweep = i / pairs, block = i % pairs;
    Draws drawn = philox4x32(key, u32(block), u32(first_sweep + sweep), u32(network), tag(ORDER, step));
    for (int j = 0; j < 2 && 2 * block + j < n; j++) {
      i64 bucket = sweep * buckets + i64(__umul64hi(drawn[j], buckets));
      int slot = atomicAdd(&counts[bucket], 1);
      if (slot >= BUCKET) __trap();
      draws[bucket * BUCKET + slot] = drawn[j];
      units[bucket * BUCKET + slot] = int(2 * block + j);
    }
  }
}

// order (sweeps, n): the units of each bucket by draw, equal draws by unit; a block of BUCKET / 2 threads a bucket,
// a bitonic sort in shared memory.
__global__ void __launch_bounds__(BUCKET / 2)
    sort_order(i64 n, i64 buckets, const int* remaining, const int* counts, const u64* draws, const int* units,
               int* order) {
  if (remaining && *remaining == 0) return;
  __shared__ u64 key[BUCKET];
  __shared__ int unit[BUCKET];
  __shared__ int partial[WARP];
  i64 sweep = blockIdx.x / buckets, own = blockIdx.x % buckets;
  int before = 0;
  for (i64 bucket = threadIdx.x; bucket < own; bucket += blockDim.x) before += counts[sweep * buckets + bucket];
  before = block_sum(before, partial);
  int count = counts[blockIdx.x], size = 1;
  while (size < count) size *= 2;
  for (int i = threadIdx.x; i < size; i += blockDim.x) {
    key[i] = i < count ? draws[i64(blockIdx.x) * BUCKET + i] : ~0ull;
    unit[i] = i < count ? units[i64(blockIdx.x) * BUCKET + i] : 0x7fffffff;
  }
  for (int run = 2; run <= size; run *= 2)
    for (int distance = run / 2; distance; distance /= 2) {
      __syncthreads();
      int i = 2 * threadIdx.x - (threadIdx.x & (distance - 1)), j = i + distance;
      if (j < size) {
        bool above = key[i] > key[j] || (key[i] == key[j] && unit[i] > unit[j]);
        if (above == ((i & run) == 0)) {
          u64 k = key[i];
          key[i] = key[j];
          key[j] = k;
          int m = unit[i];
          unit[i] = unit[j];
          unit[j] = m;
        }
      }
    }
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += blockDim.x) order[sweep * n + before + i] = unit[i];
}
