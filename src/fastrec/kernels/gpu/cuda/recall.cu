// Recall with cached fields: a block a row, thousands of rows at once, all sweeps in one launch.
//
// A sweep reads n fields from shared memory (14 bytes a unit, as long as there is room; from L2 beyond) and, for each
// flip, n couplings: 2 n bytes of a row of weights, or n u words of packed units.  Where many units flip at once,
// fields are made anew from the patterns' overlaps.
#include "descent.cuh"

template <class F>
__device__ void load_row(const Row<F>& row, const F* fields, const u64* state, i64 n) {
  for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
    row.fields[i] = fields[i];
    row.s[i] = row.before[i] = static_cast<signed char>(sign(state, i));
  }
}

// s'W s, in every thread.
template <class F> __device__ i64 form_of(const Row<F>& row, i64 n, i64* partial) {
  i64 sum = 0;
  __syncthreads();
  for (i64 i = threadIdx.x; i < n; i += blockDim.x) sum += i64(row.fields[i]) * row.s[i];
  return block_sum(sum, partial);
}

// ranks (r, n): the place of each unit in the orders order (r, n).
__global__ void rank_units(const int* order, i64 r, i64 n, int* ranks) {
  for (i64 i = thread_number(); i < r * n; i += thread_count()) ranks[i / n * n + order[i]] = int(i % n);
}

// fields (k b, n) = weights (k, n, n) times the states (k b, w), a thread a field.
template <class F, class W>
__global__ void weight_fields(const W* weights, const u64* states, i64 k, i64 b, i64 n, F* fields) {
  i64 w = (n + 63) / 64;
  for (i64 index = thread_number(); index < k * b * n; index += thread_count()) {
    i64 row = index / n, i = index % n;
    const W* own = weights + row / b * n * n;
    const u64* state = states + row * w;
    F sum = 0;
    for (i64 j = 0; j < n; j++) sum += bit(state, j) ? F(own[j * n + i]) : -F(own[j * n + i]);
    fields[index] = sum;
  }
}

// The row of this block, to its stop or for max_sweeps sweeps; step(row, sweep, flips) does one of them, and tells
// whether another may follow.
template <class F, class Step>
__device__ void recall_row(i64 n, i64 max_sweeps, const F* fields, unsigned char* scratch, i64 bytes, u64* states,
                           int* sweeps, i64* flips, i64* forms, i64 recorded, Step step) {
  __shared__ i64 partial[WARP];
  i64 number = blockIdx.x, w = (n + 63) / 64, total = 0, sweep = 0;
  Row<F> row = row_in<F>(own_memory(scratch, bytes), n);
  load_row(row, fields + number * n, states + number * w, n);
  for (bool more = true;; sweep++) {
    if (recorded) {
      i64 form = form_of(row, n, partial);
      if (threadIdx.x == 0) forms[number * recorded + sweep] = form;
    }
    if (sweep == max_sweeps || !more) break;
    i64 flipped;
    more = step(row, sweep, flipped);
    total += flipped;
  }
  store_row(row, states + number * w, n);
  if (threadIdx.x == 0) {
    sweeps[number] = int(sweep);
    flips[number] = total;
  }
}

template <class F, class Coupling>
__device__ void recall_async_row(const Coupling& coupling, u64 key, const int* ranks, i64 r, i64 first_sweep, i64 n,
                                 i64 max_sweeps, const F* fields, unsigned char* scratch, i64 bytes, u64* states,
                                 bool* converged, int* sweeps, i64* flips, i64* forms, i64 recorded) {
  __shared__ Turn turns[2][WARP];
  if (threadIdx.x == 0) converged[blockIdx.x] = false;
  auto step = [&](const Row<F>& row, i64 sweep, i64& flipped) {
    __syncthreads();
    if (r)
      for (i64 i = threadIdx.x; i < n; i += blockDim.x) row.keys[i] = ranks[(first_sweep + sweep) % r * n + i];
    else
      draw_keys(key, first_sweep + sweep, 0, 0, n, row.keys);
    flipped = sweep_row(coupling, n, row, turns);
    if (threadIdx.x == 0) converged[blockIdx.x] = flipped == 0;
    return flipped != 0;
  };
  recall_row(n, max_sweeps, fields, scratch, bytes, states, sweeps, flips, forms, recorded, step);
}

template <class F, class Coupling, class Renew>
__device__ void recall_sync_row(const Coupling& coupling, i64 n, i64 max_sweeps, const F* fields,
                                unsigned char* scratch, i64 bytes, u64* states, int* period, int* sweeps, i64* flips,
                                i64* forms, i64 recorded, int most, Renew renew) {
  __shared__ int count;
  if (threadIdx.x == 0) period[blockIdx.x] = 0;
  auto step = [&](const Row<F>& row, i64 sweep, i64& flipped) {
    bool back;
    flipped = step_row(coupling, n, row, most, &count, back);
    if (flipped > most) renew(row);
    int stop = flipped == 0 ? 1 : sweep && back ? 2 : 0;
    if (threadIdx.x == 0) period[blockIdx.x] = stop;
    return stop == 0;
  };
  recall_row(n, max_sweeps, fields, scratch, bytes, states, sweeps, flips, forms, recorded, step);
}

// Rows of states (k b, w) with their fields (k b, n), a block each: the twins of reference/hopfield.py.  ranks
// (r, n), or r = 0: random orders; sweeps are numbered from first_sweep.  forms (k b, recorded).

template <class F>
__global__ void __launch_bounds__(512, 2)
    recall_async(u64 key, const int* ranks, i64 r, i64 first_sweep, const u64* units, i64 p, i64 u, i64 self, i64 b,
                 i64 n, i64 max_sweeps, const F* fields, unsigned char* scratch, i64 bytes, u64* states,
                 bool* converged, int* sweeps, i64* flips, i64* forms, i64 recorded) {
  PatternCoupling coupling = {units + blockIdx.x / b * n * u, u, p, self};
  recall_async_row(coupling, key, ranks, r, first_sweep, n, max_sweeps, fields, scratch, bytes, states, converged,
                   sweeps, flips, forms, recorded);
}

template <class F, class W>
__global__ void __launch_bounds__(512, 2)
    recall_async_weights(u64 key, const int* ranks, i64 r, i64 first_sweep, const W* weights, i64 b, i64 n,
                         i64 max_sweeps, const F* fields, unsigned char* scratch, i64 bytes, u64* states,
                         bool* converged, int* sweeps, i64* flips, i64* forms, i64 recorded) {
  WeightCoupling<W> coupling = {weights + blockIdx.x / b * n * n, n};
  recall_async_row(coupling, key, ranks, r, first_sweep, n, max_sweeps, fields, scratch, bytes, states, converged,
                   sweeps, flips, forms, recorded);
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
                  RENEWED, renew);
}

template <class F, class W>
__global__ void __launch_bounds__(512, 2)
    recall_sync_weights(const W* weights, i64 b, i64 n, i64 max_sweeps, const F* fields, unsigned char* scratch,
                        i64 bytes, u64* states, int* period, int* sweeps, i64* flips, i64* forms, i64 recorded) {
  WeightCoupling<W> coupling = {weights + blockIdx.x / b * n * n, n};
  recall_sync_row(coupling, n, max_sweeps, fields, scratch, bytes, states, period, sweeps, flips, forms, recorded,
                  0x7fffffff, [](const Row<F>&) {});
}
