// Learning rules whose couplings are not simply sums over the patterns.
//
// Storkey's rule takes p^2 n / 2 products of 64 bits twice, and reads as many strengths, one pattern after the other.
// A unit of the perceptron rule takes p additions for each pattern that it learns.
#include "barrier.cuh"

// a / d rounded down, d > 0.
__device__ __forceinline__ i64 floor_quotient(i64 a, i64 d) { return a / d - (a % d < 0); }

// strengths (k, p, n) of the patterns first..last - 1 by Storkey's rule, from those before.  The units of a network are
// divided among `parts` blocks, which meet once for each pattern and only need each other's part of its dot products
// with the strengths before.  packed (k, p, w), units (k, n, u), gram (k, p, p), amplitudes (p); for each of the
// networks in work at once, arrived and dots (3, p), both zero before: while one is read, the next is cleared.
__global__ void __launch_bounds__(256)
    storkey(const u64* packed, const u64* units, const int* gram, const i64* amplitudes, i64 first, i64 last, i64 k,
            i64 n, i64 p, i64 w, i64 u, i64 parts, u32* arrived, u64* dots, i64* strengths) {
  i64 group = blockIdx.x / parts, part = blockIdx.x % parts, begin = n * part / parts, end = n * (part + 1) / parts;
  int lane = threadIdx.x % WARP, turn = 0;
  Barrier barrier = {arrived + group, u32(parts), 0};
  for (i64 network = group; network < k; network += gridDim.x / parts)
    for (i64 mu = first; mu < last; mu++, turn = (turn + 1) % 3) {
      const u64 *pattern = packed + (network * p + mu) * w, *x = units + network * n * u;
      const int* overlaps = gram + (network * p + mu) * p;
      i64* own = strengths + network * p * n;
      u64 *dot = dots + (3 * group + turn) * p, *next = dots + (3 * group + (turn + 1) % 3) * p;
      __syncthreads();
      for (i64 nu = threadIdx.x / WARP; nu < mu; nu += blockDim.x / WARP) {
        i64 sum = 0;
        for (i64 i = begin + lane; i < end; i += WARP) sum += sign(pattern, i) * own[nu * n + i];
        sum = warp_sum(sum);
        if (lane == 0) atomicAdd(&dot[nu], u64(sum));
      }
      for (i64 nu = threadIdx.x; nu < p && part == 0; nu += blockDim.x) next[nu] = 0;
      barrier.wait();
      for (i64 i = begin + threadIdx.x; i < end; i += blockDim.x) {
        int s = sign(pattern, i);
        i64 field = 0;
        for (i64 nu = 0; nu < mu; nu++) {
          int other = sign(x + i * u, nu);
          field += other * i64(dot[nu]) + (overlaps[nu] - 2 * other * s) * own[nu * n + i];
        }
        own[mu * n + i] = amplitudes[mu] * s - floor_quotient(2 * field + n + 2, 2 * (n + 2));
      }
    }
}

// The least value of the block, in every thread; partial as of block_sum.
template <class T> __device__ __forceinline__ T block_min(T value, T* partial) {
  for (int distance = WARP / 2; distance; distance /= 2) value = min(value, __shfl_xor_sync(ALL, value, distance));
  if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = value;
  __syncthreads();
  for (int warp = 0; warp < blockDim.x / WARP; warp++) value = min(value, partial[warp]);
  return value;
}

// strengths (k n, p), passes and stability (k n) by the perceptron rule: a block for each of the units from `first` on,
// with units (k n, u), gram (k, p, p) and thresholds (k n).  diagonal: what a unit has of itself in gram, 1, or 0 where
// it couples to itself.  memory of p fields x_mu sum_j J_j x_mu_j.
//
// Between two additions nothing changes: the next pattern to learn is the first after the last one, or in the next
// pass, among those whose stability is at most margin |J|.
template <class F>
__global__ void __launch_bounds__(512)
    perceptron(const u64* units, const int* gram, const i64* thresholds, double margin, i64 diagonal, i64 max_passes,
               i64 first, i64 n, i64 p, i64 u, unsigned char* scratch, i64 bytes, int* strengths, int* passes,
               double* stability) {
  __shared__ int places[WARP];
  __shared__ i64 least[WARP];
  i64 unit = first + blockIdx.x, threshold = thresholds[unit], squares = 0, mu = -1, pass = 1;
  const u64* x = units + unit * u;
  int* learnt = strengths + unit * p;
  F* fields = reinterpret_cast<F*>(own_memory(scratch, bytes));
  const int none = 0x7fffffff;
  int next = none;
  double limit = 0;
  auto stability_of = [&](i64 nu) { return i64(fields[nu]) - sign(x, nu) * threshold; };
  auto consider = [&](i64 nu) {
    if (__ll2double_rn(stability_of(nu)) <= limit) next = min(next, int(nu > mu ? nu : nu + p));
  };
  for (i64 nu = threadIdx.x; nu < p; nu += blockDim.x) {
    fields[nu] = 0;
    learnt[nu] = 0;
    consider(nu);
  }
  while (true) {
    int place = block_min(next, places);
    // A pass without an addition ends the learning: the first one, or that after the last addition.
    if (place == none ? mu >= 0 : place >= p) pass++;
    if (place == none || pass > max_passes) break;
    mu = place < p ? place : place - p;
    squares += 2 * i64(fields[mu]) + n - diagonal;  // |J + y|^2
    // Each operation is rounded, as in NumPy.
    limit = __dmul_rn(margin, __dsqrt_rn(__ll2double_rn(squares)));
    next = none;
    __syncthreads();
    for (i64 nu = threadIdx.x; nu < p; nu += blockDim.x) {
      int both = gram[(unit / n * p + mu) * p + nu];
      fields[nu] += F((bit(x, mu) == bit(x, nu) ? both : -both) - diagonal);
      if (nu == mu) learnt[nu]++;
      consider(nu);
    }
  }
  i64 worst = 0x7fffffffffffffff;
  for (i64 nu = threadIdx.x; nu < p; nu += blockDim.x) worst = min(worst, stability_of(nu));
  worst = block_min(worst, least);
  if (threadIdx.x == 0) {
    passes[unit] = pass > max_passes ? 0 : int(pass);
    stability[unit] = squares ? __ddiv_rn(__ll2double_rn(worst), __dsqrt_rn(__ll2double_rn(squares)))
                              : __ddiv_rn(-1, 0);  // -infinity
  }
}
