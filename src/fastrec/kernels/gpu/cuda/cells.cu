// The recurrences of Elman networks, GRUs and LSTMs, and their way back, one launch for all steps.
//
// A step costs a block ROWS x columns x inputs multiply-adds, and reads of its weights from shared memory once for all
// rows; a cluster its own barrier, and a store to every member for each value; other teams a barrier in global memory,
// about a microsecond, and reads of all that the step made from L2.  kernels/gpu/recurrent.py chooses by that.
#include "cells.cuh"

// hidden (k, b, t, h) from z (k, b, t, GATES h) = x W_in + b, W (k, h, GATES h) and state (k, b, STATES h); b_n (k, h)
// of a GRU; lengths (b).  cells (k, b, kept_steps, h) and kept (k, b, kept_steps, KEPT h) are for the way back; with
// kept_steps = 1 they hold the last step.  resident: whether the weights are kept in shared memory.
template <class T, template <class> class Cell, int ROWS, bool CLUSTERED>
__device__ __forceinline__ void forward_steps(const T* z, const i64* lengths, const T* state, const T* W, const T* b_n,
                                              i64 b, i64 t, i64 width, i64 members, i64 first_team, i64 resident,
                                              i64 activation, i64 kept_steps, u32* arrived, T* hidden, T* cells,
                                              T* kept) {
  using C = Cell<T>;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int length[ROWS];
  int h = int(width), team = int(members), gates = C::GATES * h, share = (h + team - 1) / team;
  Member own(b, h, team, int(first_team), ROWS, lengths, length);
  Barrier barrier = {arrived + first_team + blockIdx.x / team, u32(team), 0};
  int units = own.units, columns = C::GATES * units, parts = max(1, CELL_THREADS / max(1, columns));
  int elements = own.rows * units;
  T* in = reinterpret_cast<T*>(shared);                                // (h, ROWS), twice in a cluster
  T* next = CLUSTERED ? in + whole_pieces<T>(h * ROWS) : in;
  T* partial = next + whole_pieces<T>(h * ROWS);                       // (parts, ROWS, columns)
  T* ahead = partial + ROWS * max(CELL_THREADS, C::GATES * share);     // (2, ROWS, columns): z of two steps
  T* c_now = ahead + 2 * ROWS * C::GATES * share;                      // (rows, units) of an LSTM
  T* local = c_now + (C::STATES - 1) * ROWS * share;                   // (h, columns)
  const T* weights = W + own.network * h * gates + own.first;

  if (resident)
    for (int i = threadIdx.x; i < h * columns; i += CELL_THREADS) {
      int c = i % columns;
      local[i] = weights[i64(i / columns) * gates + c / units * h + c % units];
    }
  for (int i = threadIdx.x; i < h * ROWS; i += CELL_THREADS)
    next[i] = in[i] = i % ROWS < own.rows ? state[(own.row + i % ROWS) * C::STATES * h + i / ROWS] : T(0);
  if (C::STATES == 2)
    for (int e = threadIdx.x; e < elements; e += CELL_THREADS)
      c_now[e] = state[(own.row + e / units) * 2 * h + h + own.first + e % units];

  auto weight = [&](int c) { return resident ? local + c : weights + c / units * h + c % units; };
  auto fetch = [&](int step) {
    T* into = ahead + step % 2 * ROWS * columns;
    for (int i = threadIdx.x; i < own.rows * columns; i += CELL_THREADS) {
      int c = i % columns;
      copy_value(into + i, z + ((own.row + i / columns) * t + step) * gates + c / units * h + own.first + c % units);
    }
  };
  if (own.steps) fetch(0);
  copy_commit();
  meet<CLUSTERED>();
  for (int step = 0; step < own.steps; step++) {
    if (step + 1 < own.steps) fetch(step + 1);
    copy_commit();
    multiply<ROWS>(in, h, weight, resident ? columns : gates, columns, parts, partial);
    copy_wait<1>();
    __syncthreads();
    const T* now = ahead + step % 2 * ROWS * columns;
    for (int e = threadIdx.x; e < elements; e += CELL_THREADS) {
      int r = e / units, j = e % units, unit = own.first + j;
      i64 place = (own.row + r) * t + step;
      T value = 0;
      if (step < length[r]) {
        T sums[C::GATES], given[C::GATES], keep[C::KEPT], c = C::STATES == 2 ? c_now[e] : T(0);
#pragma unroll
        for (int gate = 0; gate < C::GATES; gate++) {
          sums[gate] = product_of<ROWS>(partial, columns, parts, r, gate * units + j);
          given[gate] = now[r * columns + gate * units + j];
        }
        T bias = b_n ? b_n[own.network * h + unit] : T(0);
        value = C::forward(given, sums, in[unit * ROWS + r], bias, c, keep, activation);
        i64 at = kept_steps == 1 ? own.row + r : place;
        if (C::STATES == 2) cells[at * h + unit] = c_now[e] = c;
#pragma unroll
        for (int i = 0; i < (C::KEPT > 1 ? C::KEPT : 0); i++) kept[(at * C::KEPT + i) * h + unit] = keep[i];
      }
      hidden[place * h + unit] = value;
      if (CLUSTERED || team == 1) publish<CLUSTERED>(next + unit * ROWS + r, value, team);
    }
    if (!CLUSTERED && team > 1) {
      barrier.wait();
      for (int i = threadIdx.x; i < own.rows * h; i += CELL_THREADS)
        in[i % h * ROWS + i / h] = __ldcg(hidden + ((own.row + i / h) * t + step) * h + i % h);
    }
    meet<CLUSTERED>();
    swap(in, next);
  }
  each_padded(own, t, [=](i64 place, int j) { hidden[place * h + own.first + j] = 0; });
}

// The way back: d_kept (k, b, t, KEPT h), the gradients of the arguments of the gates, may be d_hidden (of an Elman
// network) or kept itself; d_state (k, b, STATES h) from d_last.  d_total (k, b, t, h) gets the whole dE/dh if it is
// given.
template <class T, template <class> class Cell, int ROWS, bool CLUSTERED>
__device__ __forceinline__ void backward_steps(const i64* lengths, const T* state, const T* hidden, const T* cells,
                                               const T* kept, const T* W, const T* d_hidden, const T* d_last, i64 b,
                                               i64 t, i64 width, i64 members, i64 first_team, i64 resident,
                                               i64 activation, u32* arrived, T* d_kept, T* d_state, T* d_total) {
  using C = Cell<T>;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int length[ROWS];
  int h = int(width), team = int(members), gates = C::GATES * h, share = (h + team - 1) / team;
  Member own(b, h, team, int(first_team), ROWS, lengths, length);
  Barrier barrier = {arrived + first_team + blockIdx.x / team, u32(team), 0};
  int units = own.units, elements = own.rows * units, parts = max(1, CELL_THREADS / max(1, units));
  T* in = reinterpret_cast<T*>(shared);                        // (GATES h, ROWS), twice in a cluster
  T* next = CLUSTERED ? in + whole_pieces<T>(gates * ROWS) : in;
  T* partial = next + whole_pieces<T>(gates * ROWS);           // (parts, ROWS, units)
  T* carry = partial + ROWS * max(CELL_THREADS, share);        // (rows, units): dE/dh from later steps
  T* direct = carry + ROWS * share;                            // (rows, units): of it, what bypasses the product
  T* c_carry = direct + ROWS * share;                          // (rows, units): dE/dc from later steps
  T* local = c_carry + (C::STATES - 1) * ROWS * share;         // (GATES h, units)
  const T* weights = W + (own.network * h + own.first) * gates;

  if (resident)
    for (int i = threadIdx.x; i < units * gates; i += CELL_THREADS) local[i % gates * units + i / gates] = weights[i];
  for (int e = threadIdx.x; e < elements; e += CELL_THREADS) {
    const T* last = d_last + (own.row + e / units) * C::STATES * h + own.first + e % units;
    carry[e] = last[0];
    direct[e] = 0;
    if (C::STATES == 2) c_carry[e] = last[h];
  }
  for (int i = threadIdx.x; i < gates * ROWS; i += CELL_THREADS) next[i] = in[i] = 0;
  meet<CLUSTERED>();
  auto weight = [&](int c) { return resident ? local + c : weights + i64(c) * gates; };

  for (int step = own.steps - 1; step >= -1; step--) {
    if (step + 1 < own.steps) multiply<ROWS>(in, gates, weight, resident ? units : 1, units, parts, partial);
    __syncthreads();
    for (int e = threadIdx.x; e < elements; e += CELL_THREADS) {
      int r = e / units, j = e % units, unit = own.first + j;
      i64 place = (own.row + r) * t + step;
      if (step + 1 < length[r]) carry[e] = product_of<ROWS>(partial, units, parts, r, j) + direct[e];
      if (step < 0) continue;
      T d[C::KEPT] = {}, d_h = 0;
      if (step < length[r]) {
        T keep[C::KEPT], d_c = 0, c = 0, c_before = 0;
        d_h = d_hidden[place * h + unit] + carry[e];
#pragma unroll
        for (int i = 0; i < (C::KEPT > 1 ? C::KEPT : 0); i++) keep[i] = kept[(place * C::KEPT + i) * h + unit];
        if (C::STATES == 2) {
          d_c = c_carry[e];
          c = cells[place * h + unit];
          c_before = step ? cells[(place - 1) * h + unit] : state[(own.row + r) * 2 * h + h + unit];
        }
        T before = step ? hidden[(place - 1) * h + unit] : state[(own.row + r) * C::STATES * h + unit];
        direct[e] = C::backward(d_h, hidden[place * h + unit], before, keep, c, c_before, d_c, d, activation);
        if (C::STATES == 2) c_carry[e] = d_c;
      }
      if (d_total) d_total[place * h + unit] = d_h;
#pragma unroll
      for (int i = 0; i < C::KEPT; i++) d_kept[(place * C::KEPT + i) * h + unit] = d[i];
      if (CLUSTERED || team == 1)
#pragma unroll
        for (int gate = 0; gate < C::GATES; gate++)
          publish<CLUSTERED>(next + (gate * h + unit) * ROWS + r, d[C::place(gate)], team);
    }
    if (!CLUSTERED && team > 1 && step >= 0) {
      barrier.wait();
      for (int i = threadIdx.x; i < own.rows * gates; i += CELL_THREADS) {
        int c = i % gates, r = i / gates;
        i64 place = (own.row + r) * t + step;
        in[c * ROWS + r] = __ldcg(d_kept + (place * C::KEPT + C::place(c / h)) * h + c % h);
      }
    }
    meet<CLUSTERED>();
    swap(in, next);
  }
  for (int e = threadIdx.x; e < elements; e += CELL_THREADS) {
    T* into = d_state + (own.row + e / units) * C::STATES * h + own.first + e % units;
    into[0] = carry[e];
    if (C::STATES == 2) into[h] = c_carry[e];
  }
  each_padded(own, t, [=](i64 place, int j) {
    int unit = own.first + j;
    for (int i = 0; i < C::KEPT; i++) d_kept[(place * C::KEPT + i) * h + unit] = 0;
    if (d_total) d_total[place * h + unit] = 0;
  });
}

// The kernels: blocks of a team that meet in global memory, or alone; and those of a cluster.

template <class T, template <class> class Cell, int ROWS>
__global__ void __launch_bounds__(CELL_THREADS, 2)
    cell_forward(const T* z, const i64* lengths, const T* state, const T* W, const T* b_n, i64 b, i64 t, i64 width,
                 i64 members, i64 first_team, i64 resident, i64 activation, i64 kept_steps, u32* arrived, T* hidden,
                 T* cells, T* kept) {
  forward_steps<T, Cell, ROWS, false>(z, lengths, state, W, b_n, b, t, width, members, first_team, resident,
                                      activation, kept_steps, arrived, hidden, cells, kept);
}

template <class T, template <class> class Cell, int ROWS>
__global__ void __cluster_dims__(CLUSTER) __launch_bounds__(CELL_THREADS, 2)
    cluster_forward(const T* z, const i64* lengths, const T* state, const T* W, const T* b_n, i64 b, i64 t, i64 width,
                    i64 members, i64 first_team, i64 resident, i64 activation, i64 kept_steps, u32* arrived, T* hidden,
                    T* cells, T* kept) {
  forward_steps<T, Cell, ROWS, true>(z, lengths, state, W, b_n, b, t, width, members, first_team, resident,
                                     activation, kept_steps, arrived, hidden, cells, kept);
}

template <class T, template <class> class Cell, int ROWS>
__global__ void __launch_bounds__(CELL_THREADS, 2)
    cell_backward(const i64* lengths, const T* state, const T* hidden, const T* cells, const T* kept, const T* W,
                  const T* d_hidden, const T* d_last, i64 b, i64 t, i64 width, i64 members, i64 first_team,
                  i64 resident, i64 activation, u32* arrived, T* d_kept, T* d_state, T* d_total) {
  backward_steps<T, Cell, ROWS, false>(lengths, state, hidden, cells, kept, W, d_hidden, d_last, b, t, width, members,
                                       first_team, resident, activation, arrived, d_kept, d_state, d_total);
}

template <class T, template <class> class Cell, int ROWS>
__global__ void __cluster_dims__(CLUSTER) __launch_bounds__(CELL_THREADS, 2)
    cluster_backward(const i64* lengths, const T* state, const T* hidden, const T* cells, const T* kept, const T* W,
                     const T* d_hidden, const T* d_last, i64 b, i64 t, i64 width, i64 members, i64 first_team,
                     i64 resident, i64 activation, u32* arrived, T* d_kept, T* d_state, T* d_total) {
  backward_steps<T, Cell, ROWS, true>(lengths, state, hidden, cells, kept, W, d_hidden, d_last, b, t, width, members,
                                      first_team, resident, activation, arrived, d_kept, d_state, d_total);
}

// norms (rows), float64: squared norms of d (rows, h), a warp a row.
template <class T> __global__ void row_norms(const T* d, i64 rows, i64 h, double* norms) {
  for (i64 row = thread_number() / WARP; row < rows; row += thread_count() / WARP) {
    double sum = 0;
    for (i64 j = threadIdx.x % WARP; j < h; j += WARP) sum += double(d[row * h + j]) * d[row * h + j];
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) norms[row] = sum;
  }
}
