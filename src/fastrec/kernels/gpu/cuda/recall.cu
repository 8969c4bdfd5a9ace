// Recall with cached fields: a block a row, thousands of rows at once, all sweeps in one launch.
//
// A sweep reads n fields from shared memory (14 bytes a unit, as long as there is room; from L2 beyond) and, for each
// flip, n couplings: 2 n bytes of a column of weights, or n u words of packed units.  Where many units flip at once,
// fields are made anew from the patterns' overlaps.
#include "recall.cuh"

// ranks (r, n): the place of each unit in the orders order (r, n).
__global__ void rank_units(const int* order, i64 r, i64 n, int* ranks) {
  for (i64 i = thread_number(); i < r * n; i += thread_count()) ranks[i / n * n + order[i]] = int(i % n);
}

inline constexpr int TOGETHER = 8;  // rows of the batch for which a warp reads the couplings of a unit

// fields (k b, n) = weights (k, n, n) times the states (k b, w), less thresholds (k, n) if given.
template <class F, class W>
__global__ void weight_fields(const W* weights, const F* thresholds, const u64* states, i64 k, i64 b, i64 n,
                              F* fields) {
  i64 w = (n + 63) / 64, parts = (b + TOGETHER - 1) / TOGETHER;
  int lane = threadIdx.x % WARP;
  for (i64 job = thread_number() / WARP; job < k * n * parts; job += thread_count() / WARP) {
    i64 unit = job / parts, network = unit / n, first = job % parts * TOGETHER;
    const W* own = weights + unit * n;
    for (i64 row = network * b + first; row < network * b + min(first + TOGETHER, b); row++) {
      const u64* state = states + row * w;
      F sum = 0;
      for (i64 j = lane; j < n; j += WARP) sum += bit(state, j) ? F(own[j]) : -F(own[j]);
      sum = warp_sum(sum);
      if (lane == 0) fields[row * n + unit - network * n] = thresholds ? sum - thresholds[unit] : sum;
    }
  }
}

__device__ __forceinline__ void write_taken(Taken taken, int* sweeps, i64* flips) {
  if (threadIdx.x) return;
  sweeps[blockIdx.x] = int(taken.sweeps);
  flips[blockIdx.x] = taken.flips;
}

template <class F, class Coupling, class More>
__device__ void recall_async_row(const Coupling& coupling, u64 key, const int* ranks, i64 r, i64 first_sweep, i64 n,
                                 i64 max_sweeps, const F* fields, unsigned char* scratch, i64 bytes, u64* states,
                                 bool* converged, int* sweeps, i64* flips, i64* forms, i64 recorded,
                                 const More& given) {
  __shared__ Turn turns[2][WARP];
  i64 noted = 0;
  if (threadIdx.x == 0) converged[blockIdx.x] = false;
  auto step = [&](const Row<F>& row, i64 sweep, i64& flipped) {
    __syncthreads();
    if (r)
      for (i64 i = threadIdx.x; i < n; i += blockDim.x) row.keys[i] = ranks[(first_sweep + sweep) % r * n + i];
    else
      draw_keys(key, first_sweep + sweep, 0, 0, n, row.keys);
    auto note = [&](i64 before, i64 unit) { note_turn(given, noted + before, sweep, unit); };
    flipped = sweep_row(coupling, n, row, turns, note);
    noted += flipped;
    if (threadIdx.x == 0) converged[blockIdx.x] = flipped == 0;
    return flipped != 0;
  };
  write_taken(recall_row(n, max_sweeps, fields, own_memory(scratch, bytes), states, forms, recorded, given, step),
              sweeps, flips);
}

// renew(row) makes fields anew after more than `most` turns; cycle(row, steps) tells the period of a cycle of more than
// two steps, or 0.
template <class F, class Coupling, class More, class Renew, class Cycle>
__device__ void recall_sync_row(const Coupling& coupling, i64 n, i64 max_sweeps, const F* fields,
                                unsigned char* scratch, i64 bytes, u64* states, int* period, int* sweeps, i64* flips,
                                i64* forms, i64 recorded, const More& given, int most, Renew renew, Cycle cycle) {
  __shared__ int count;
  if (threadIdx.x == 0) period[blockIdx.x] = 0;
  auto step = [&](const Row<F>& row, i64 sweep, i64& flipped) {
    bool back;
    flipped = step_row(coupling, n, row, most, &count, back);
    if (flipped > most) renew(row);
    int stop = flipped == 0 ? 1 : sweep && back ? 2 : cycle(row, sweep + 1);
    if (threadIdx.x == 0) period[blockIdx.x] = stop;
    return stop == 0;
  };
  write_taken(recall_row(n, max_sweeps, fields, own_memory(scratch, bytes), states, forms, recorded, given, step),
              sweeps, flips);
}

// Rows of states (k b, w) with their fields (k b, n), a block each: the twins of reference/recall.py.  ranks
// (r, n), or r = 0: random orders; sweeps are numbered from first_sweep.  forms (k b, recorded).

template <class F>
__global__ void __launch_bounds__(512, 2)
    recall_async(u64 key, const int* ranks, i64 r, i64 first_sweep, const u64* units, i64 p, i64 u, i64 self, i64 b,
                 i64 n, i64 max_sweeps, const F* fields, unsigned char* scratch, i64 bytes, u64* states,
                 bool* converged, int* sweeps, i64* flips, i64* forms, i64 recorded) {
  PatternCoupling coupling = {units + blockIdx.x / b * n * u, u, p, self};
  recall_async_row(coupling, key, ranks, r, first_sweep, n, max_sweeps, fields, scratch, bytes, states, converged,
                   sweeps, flips, forms, recorded, NothingGiven());
}

// columns (k, n, n): the transpose of the couplings.
template <class F, class W>
__global__ void __launch_bounds__(512, 2)
    recall_async_weights(u64 key, const int* ranks, i64 r, i64 first_sweep, const W* columns, const F* thresholds,
                         const u64* clamped, i64 held, i64 b, i64 n, i64 max_sweeps, const F* fields,
                         unsigned char* scratch, i64 bytes, u64* states, bool* converged, int* sweeps, i64* flips,
                         i64* forms, i64 recorded, u64* trail, i64 trailed, int* turns, i64 room) {
  WeightCoupling<W> coupling = {columns + blockIdx.x / b * n * n, n};
  recall_async_row(coupling, key, ranks, r, first_sweep, n, max_sweeps, fields, scratch, bytes, states, converged,
                   sweeps, flips, forms, recorded,
                   given_of(thresholds, clamped, held, b, n, trail, trailed, turns, room));
}

// packed (k, p, w); planes (k b, 8 NT, u): scratch.
template <class F, int NT>
__global__ void __launch_bounds__(512, 2)
    recall_sync(const u64* packed, u64* planes, const u64* units, i64 p, i64 u, i64 self, i64 b, i64 n, i64 max_sweeps,
                const F* fields, unsigned char* scratch, i64 bytes, u64* states, int* period, int* sweeps, i64* flips,
                i64* forms, i64 recorded) {
  i64 row_number = blockIdx.x, network = row_number / b, w = (n + 63) / 64;
  PatternCoupling coupling = {units + network * n * u, u, p, self};
  auto renew = [=](const Row<F>& row) {
    renew_fields<NT>(coupling, packed + network * p * w, n, row, states + row_number * w,
                     planes + row_number * 8 * NT * u);
  };
  recall_sync_row(coupling, n, max_sweeps, fields, scratch, bytes, states, period, sweeps, flips, forms, recorded,
                  NothingGiven(), RENEWED, renew, Nothing());
}

template <class F, class W>
__global__ void __launch_bounds__(512, 2)
    recall_sync_weights(const W* columns, const F* thresholds, const u64* clamped, i64 held, i64 b, i64 n,
                        i64 max_sweeps, const F* fields, unsigned char* scratch, i64 bytes, u64* states, int* period,
                        int* sweeps, i64* flips, i64* forms, i64 recorded, u64* trail, i64 trailed) {
  WeightCoupling<W> coupling = {columns + blockIdx.x / b * n * n, n};
  i64 kept_at = 0;
  // Brent's search: the states after 1, 2, 4, ... steps are kept, in the half of row.keys that turns leave free.
  auto cycle = [&](const Row<F>& row, i64 steps) {
    signed char* kept = reinterpret_cast<signed char*>(row.keys) + 4 * n;
    bool same = kept_at > 0, keep = (steps & (steps - 1)) == 0;
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
      same = same && row.s[i] == kept[i];
      if (keep) kept[i] = row.s[i];
    }
    int period = __syncthreads_and(same) ? int(steps - kept_at) : 0;
    if (keep) kept_at = steps;
    return period;
  };
  recall_sync_row(coupling, n, max_sweeps, fields, scratch, bytes, states, period, sweeps, flips, forms, recorded,
                  given_of(thresholds, clamped, held, b, n, trail, trailed, static_cast<int*>(nullptr), 0), 0x7fffffff,
                  Nothing(), cycle);
}
