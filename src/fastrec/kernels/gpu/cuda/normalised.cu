// Cells whose products are normalised: N(x W_in) g_in + b for x W_in + b and N(h W_rec) g_rec for h W_rec, N(a) being a
// with mean 0 and variance 1 over the g h columns of a step of a row.  A block takes up to ROWS whole rows, a warp each
// of them at a time for the means; weights come from L2.
#include "cells.cuh"
#include "link.cuh"

inline constexpr double EPSILON = 1e-5;  // is added to a variance

// normal (columns) = N(sums), by a warp; returns what the sums were multiplied with.  sum(c) may be what normal[c] holds.
template <class T, class Sum> __device__ __forceinline__ T normalise(int columns, Sum sum, T* normal) {
  int lane = threadIdx.x % WARP;
  T total = 0, squares = 0;
  for (int c = lane; c < columns; c += WARP) total += normal[c] = sum(c);
  T mean = warp_sum(total) / columns;
  for (int c = lane; c < columns; c += WARP) {
    normal[c] -= mean;
    squares += normal[c] * normal[c];
  }
  T scale = 1 / sqrt(warp_sum(squares) / columns + T(EPSILON));
  for (int c = lane; c < columns; c += WARP) normal[c] *= scale;
  return scale;
}

// Calls put(c, d) with the gradient of what `normalise` read, by a warp, from that of what it made, d_normal (columns).
// put may write over normal[c].
template <class T, class Put>
__device__ __forceinline__ void normalise_back(int columns, const T* d_normal, const T* normal, T scale, Put put) {
  int lane = threadIdx.x % WARP;
  T total = 0, along = 0;
  for (int c = lane; c < columns; c += WARP) {
    total += d_normal[c];
    along += d_normal[c] * normal[c];
  }
  T mean = warp_sum(total) / columns;
  along = warp_sum(along) / columns;
  for (int c = lane; c < columns; c += WARP) put(c, scale * (d_normal[c] - mean - normal[c] * along));
}

// hidden (k, b, t, h) from inward (k, b, t, g h) = x W_in, which becomes N(x W_in) if there is a g_in, packed weights,
// state (k, b, STATES h), lengths (b); b_in, g_in, g_rec (k, g h), of_units (k, OWN h), noise (k, b, t, h) or null.  For
// the way back are cells (k, b, kept_steps, h), if the cell has such states, kept (.., KEPT h), scales (.., 2), the
// factors of both N, and recurrent (.., g h) = N(h W_rec); with kept_steps = 1 they hold the last step.
template <class P, template <class> class Cell, int ROWS, class T = typename P::Real>
__global__ void __launch_bounds__(CELL_THREADS, 2)
    normalised_forward(const i64* lengths, const T* state, const typename P::Entry* W_rec, const T* b_in,
                       const T* of_units, const T* g_in, const T* g_rec, const T* noise, i64 b, i64 t, i64 width,
                       i64 parts, i64 activation, i64 kept_steps, T* inward, T* hidden, T* cells, T* kept, T* scales,
                       T* recurrent) {
  using C = Cell<T>;
  constexpr bool CELLED = C::STATES == 2;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int length[ROWS];
  int h = int(width), columns = C::GATES * h;
  Member own(b, h, 1, 0, ROWS, lengths, length);
  unsigned char* free = shared;
  Link<P, ROWS> last(free, h, columns, parts, W_rec, own);
  T* before = reinterpret_cast<T*>(free);  // (rows, h): the state that a unit itself reads, if it does
  T* partial = before + (C::BEFORE || CELLED ? ROWS * h : 0);
  each_element(own.rows, h, [&](int r, int j) {
    const T* from = state + (own.row + r) * C::STATES * h + j;
    last.set(r, j, from[0]);
    if (C::BEFORE || CELLED) before[r * h + j] = from[CELLED ? h : 0];
  });
  __syncthreads();
  for (int step = 0; step < own.steps; step++) {
    last.multiply(partial);
    __syncthreads();
    for (int r = threadIdx.x / WARP; r < own.rows; r += WARPS) {
      if (step >= length[r]) continue;
      i64 place = (own.row + r) * t + step, at = kept_steps == 1 ? own.row + r : place;
      T* read = inward + place * columns;
      T scale = normalise(
          columns, [&](int c) { return last.weights.product(partial, r, c); }, partial + r * last.shape.width);
      T scale_in = g_in ? normalise(
                              columns, [&](int c) { return read[c]; }, read)
                        : T(1);
      if (threadIdx.x % WARP == 0) {
        scales[2 * at] = scale_in;
        scales[2 * at + 1] = scale;
      }
    }
    __syncthreads();
    each_element(own.rows, h, [&](int r, int j) {
      i64 place = (own.row + r) * t + step, at = kept_steps == 1 ? own.row + r : place;
      T value = 0;
      if (step < length[r]) {
        T sums[C::GATES], given[C::GATES], keep[C::KEPT], last_h = C::BEFORE ? before[r * h + j] : T(0);
        T c = CELLED ? before[r * h + j] : T(0);
#pragma unroll
        for (int gate = 0; gate < C::GATES; gate++) {
          int column = gate * h + j;
          i64 of_network = own.network * columns + column;
          sums[gate] = partial[r * last.shape.width + column];
          recurrent[at * columns + column] = sums[gate];
          sums[gate] *= g_rec[of_network];
          given[gate] = inward[place * columns + column] * (g_in ? g_in[of_network] : T(1)) + b_in[of_network];
        }
        if (noise) given[0] += noise[place * h + j];
        OfUnit<C::OWN, T> of_unit(of_units + own.network * C::OWN * h + j, h);
        value = C::forward(given, sums, last_h, of_unit.values, c, keep, activation);
        if (C::HIDDEN) keep[0] = value;
        if (C::BEFORE || CELLED) before[r * h + j] = CELLED ? c : value;
        if (CELLED) cells[at * h + j] = c;
#pragma unroll
        for (int i = 0; i < C::KEPT; i++) kept[(at * C::KEPT + i) * h + j] = keep[i];
      }
      hidden[place * h + j] = value;
      last.set(r, j, value);
    });
    __syncthreads();
  }
  each_padded(own, t, [=](i64 place, int j) { hidden[place * h + j] = 0; });
}

// The way back: d_inward and d_recurrent (k, b, t, g h), the gradients of x W_in and h W_rec, may be inward and recurrent;
// d_state (k, b, STATES h) from d_last; packed weights are of the transposed matrix.  d_b, d_g_in, d_g_rec (k, b, g h) and
// d_of_units (k, b, OWN h) get what each row adds to the gradients of parameters.  work (k, b, 2, g h) is scratch.
// d_total (k, b, t, h) gets the whole dE/dh if it is given.
template <class P, template <class> class Cell, int ROWS, class T = typename P::Real>
__global__ void __launch_bounds__(CELL_THREADS, 2)
    normalised_backward(const i64* lengths, const T* state, const T* hidden, const T* cells, const T* kept,
                        const T* scales, const T* inward, const T* recurrent, const typename P::Entry* W_rec,
                        const T* of_units, const T* g_in, const T* g_rec, const T* d_hidden, const T* d_last, i64 b,
                        i64 t, i64 width, i64 parts, i64 activation, T* work, T* d_inward, T* d_recurrent, T* d_state,
                        T* d_b, T* d_of_units, T* d_g_in, T* d_g_rec, T* d_total) {
  using C = Cell<T>;
  constexpr bool CELLED = C::STATES == 2;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int length[ROWS];
  int h = int(width), columns = C::GATES * h;
  Member own(b, h, 1, 0, ROWS, lengths, length);
  unsigned char* free = shared;
  Link<P, ROWS> d_sums(free, columns, h, parts, W_rec, own);
  T* carry = reinterpret_cast<T*>(free);  // (rows, h): dE/dh from later steps
  T* c_carry = carry + ROWS * h;          // (rows, h): dE/dc from later steps, if there is a c
  T* partial = c_carry + (CELLED ? ROWS * h : 0);
  each_element(own.rows, h, [&](int r, int j) {
    const T* from = d_last + (own.row + r) * C::STATES * h + j;
    carry[r * h + j] = from[0];
    if (CELLED) c_carry[r * h + j] = from[h];
  });
  __syncthreads();
  for (int step = own.steps - 1; step >= -1; step--) {
    if (step + 1 < own.steps) d_sums.multiply(partial);
    __syncthreads();
    each_element(own.rows, h, [&](int r, int j) {
      T& later = carry[r * h + j];
      if (step + 1 < length[r]) later += d_sums.weights.product(partial, r, j);
      if (step < 0) return;
      i64 row = own.row + r, place = row * t + step;
      T d_h = 0;
      if (step < length[r]) {
        T d[C::KEPT], keep[C::KEPT], d_own[C::OWN_BACK ? C::OWN_BACK : 1] = {};
        auto before = [&](const T* steps, int part) {
          return step ? steps[(place - 1) * h + j] : state[(row * C::STATES + part) * h + j];
        };
#pragma unroll
        for (int i = 0; i < C::KEPT; i++) keep[i] = kept[(place * C::KEPT + i) * h + j];
        d_h = d_hidden[place * h + j] + later;
        T c = CELLED ? cells[place * h + j] : T(0), c_before = CELLED ? before(cells, 1) : T(0);
        T d_c = CELLED ? c_carry[r * h + j] : T(0);
        OfUnit<C::OWN_BACK, T> of_unit(of_units + own.network * C::OWN_BACK * h + j, h);
        later = C::backward(d_h, keep[0], C::BEFORE ? before(hidden, 0) : T(0), keep, c, c_before, of_unit.values, d_c,
                            d, d_own, activation);
        if (CELLED) c_carry[r * h + j] = d_c;
#pragma unroll
        for (int i = 0; i < C::OWN_BACK; i++) d_of_units[(row * C::OWN_BACK + i) * h + j] += d_own[i];
        // What the way back does not read is added to the recurrent sum of the last gate.
        if (C::OWN && !C::OWN_BACK) d_of_units[row * h + j] += d[C::place(C::GATES - 1)];
#pragma unroll
        for (int gate = 0; gate < C::GATES; gate++) {
          int column = gate * h + j;
          i64 at = place * columns + column, of_row = row * columns + column,
              of_network = own.network * columns + column;
          T d_in = d[gate], d_rec = d[C::place(gate)];
          d_b[of_row] += d_in;
          if (g_in) {
            d_g_in[of_row] += d_in * inward[at];
            d_in *= g_in[of_network];
          }
          d_g_rec[of_row] += d_rec * recurrent[at];
          work[2 * row * columns + column] = d_in;
          work[(2 * row + 1) * columns + column] = d_rec * g_rec[of_network];
        }
      }
      if (d_total) d_total[place * h + j] = d_h;
    });
    if (step < 0) break;
    __syncthreads();
    for (int r = threadIdx.x / WARP; r < own.rows; r += WARPS) {
      i64 row = own.row + r, place = row * t + step;
      T *d_in = d_inward + place * columns, *d_rec = d_recurrent + place * columns;
      const T *from_in = work + 2 * row * columns, *from_rec = from_in + columns;
      if (step >= length[r]) {
        for (int c = threadIdx.x % WARP; c < columns; c += WARP) d_in[c] = d_rec[c] = 0;
        continue;
      }
      if (g_in)
        normalise_back(columns, from_in, inward + place * columns, scales[2 * place],
                       [=](int c, T d) { d_in[c] = d; });
      else
        for (int c = threadIdx.x % WARP; c < columns; c += WARP) d_in[c] = from_in[c];
      normalise_back(columns, from_rec, recurrent + place * columns, scales[2 * place + 1], [&](int c, T d) {
        d_rec[c] = d;
        d_sums.set(r, c, d);
      });
    }
    __syncthreads();
  }
  each_element(own.rows, h, [&](int r, int j) {
    T* into = d_state + (own.row + r) * C::STATES * h + j;
    into[0] = carry[r * h + j];
    if (CELLED) into[h] = c_carry[r * h + j];
  });
  each_padded(own, t, [=](i64 place, int j) {
    for (int gate = 0; gate < C::GATES; gate++)
      d_inward[place * columns + gate * h + j] = d_recurrent[place * columns + gate * h + j] = 0;
    if (d_total) d_total[place * h + j] = 0;
  });
}
