// Local fields, stability and energies of many states from packed patterns.
#include "fields.cuh"

// planes (rows, 8 NT, u) and totals (rows), zero before, from overlaps m (rows, p): a warp for 32 patterns.
template <int NT> __global__ void bit_planes(const int* m, i64 rows, i64 p, i64 u, u64* planes, u64* totals) {
  int lane = threadIdx.x % WARP;
  for (i64 part = thread_number() / WARP; part < rows * 2 * u; part += thread_count() / WARP) {
    i64 row = part / (2 * u), half_word = part % (2 * u), mu = WARP * half_word + lane;
    int own = mu < p ? m[row * p + mu] : 0;
    write_planes<NT>(own, half_word, u, reinterpret_cast<u32*>(planes + row * 8 * NT * u));
    i64 sum = warp_sum(i64(own));
    if (lane == 0) atomicAdd(&totals[row], u64(sum));
  }
}

// Passes each local field, and the sign of its unit, to out(row, unit, field, sign): k networks of b rows, units
// (k, n, u), states (k b, w); diagonal is the self-coupling to take out: p, or 0.  Without states a sign is 0, as of
// sums that are no fields.  A warp for 16 units of a row.
template <int NT, class Out>
__device__ __forceinline__ void each_field(const u64* units, const u64* states, const u64* planes, const u64* totals,
                                           i64 k, i64 b, i64 n, i64 u, i64 diagonal, Out out) {
  i64 tiles = (n + 15) / 16, w = (n + 63) / 64;
  int lane = threadIdx.x % WARP;
  for (i64 job = thread_number() / WARP; job < k * b * tiles; job += thread_count() / WARP) {
    // The rows of one tile come one after the other: its units stay in L1.
    i64 row = job / (b * tiles) * b + job % b, first = job / b % tiles * 16;
    const u64* own = units + row / b * n * u;
    i64 sum[2];
    plane_sums<NT>([=](int i) { return first + i < n ? own + (first + i) * u : nullptr; }, planes + row * 8 * NT * u,
                   u, 0, u, sum);
    if (lane % 4 < 2) {
      i64 i = first + lane / 4 + 8 * (lane % 4);
      if (i < n) {
        int s = states ? sign(states + row * w, i) : 0;
        out(row, i, 2 * (lane % 4 ? sum[1] : sum[0]) - i64(totals[row]) - diagonal * s, s);
      }
    }
  }
}

// fields (k b, n).
template <int NT, class T>
__global__ void __launch_bounds__(256)
    local_fields(const u64* units, const u64* states, const u64* planes, const u64* totals, i64 k, i64 b, i64 n, i64 u,
                 i64 diagonal, T* fields) {
  each_field<NT>(units, states, planes, totals, k, b, n, u, diagonal,
                 [=](i64 row, i64 i, i64 field, int) { fields[row * n + i] = T(field); });
}

// unstable (k b), zero before: 1 where a field is against its unit.
template <int NT>
__global__ void __launch_bounds__(256)
    find_unstable(const u64* units, const u64* states, const u64* planes, const u64* totals, i64 k, i64 b, i64 n, i64 u,
                  i64 diagonal, int* unstable) {
  each_field<NT>(units, states, planes, totals, k, b, n, u, diagonal, [=](i64 row, i64, i64 field, int s) {
    if (field * s < 0) atomicOr(&unstable[row], 1);
  });
}

// form (rows) = sum of squared overlaps m (rows, p), less `diagonal`; a block a row.
__global__ void quadratic_form(const int* m, i64 p, i64 diagonal, i64* form) {
  __shared__ i64 partial[WARP];
  const int* own = m + i64(blockIdx.x) * p;
  i64 sum = 0;
  for (i64 mu = threadIdx.x; mu < p; mu += blockDim.x) sum += i64(own[mu]) * own[mu];
  sum = block_sum(sum, partial);
  if (threadIdx.x == 0) form[blockIdx.x] = sum - diagonal;
}
