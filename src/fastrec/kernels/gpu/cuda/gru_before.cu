// Gated recurrent units that reset the state before the product, so that a step is two products, one after the other: of
// h with the weights of r and z, then of r h with those of n.  A block takes up to ROWS rows; weights come from L2.
#include "cells.cuh"
#include "link.cuh"

// hidden (k, b, t, h) from z (k, b, t, 3h) = x W_in + b, packed weights, state (k, b, h), lengths (b).  reset (k, b,
// kept_steps, h) = r h and gates (k, b, kept_steps, 3h) = [r | z | n] are for the way back; with kept_steps = 1 they hold
// the last step, else z may be gates.
template <class P, int ROWS, class T = typename P::Real>
__global__ void __launch_bounds__(CELL_THREADS, 2)
    gru_before_forward(const T* z, const i64* lengths, const T* state, const typename P::Entry* W_gates,
                       const typename P::Entry* W_new, i64 b, i64 t, i64 width, i64 gate_parts, i64 new_parts,
                       i64 kept_steps, T* hidden, T* reset, T* gates) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int length[ROWS];
  int h = int(width);
  Member own(b, h, 1, 0, ROWS, lengths, length);
  unsigned char* free = shared;
  Link<P, ROWS> last(free, h, 2 * h, gate_parts, W_gates, own), scaled(free, h, h, new_parts, W_new, own);
  T* before = reinterpret_cast<T*>(free);  // (rows, h) each: h before the step, and the sum of gate z
  T* update = before + ROWS * h;
  T* partial = update + ROWS * h;
  each_element(own.rows, h, [&](int r, int j) {
    T value = before[r * h + j] = state[(own.row + r) * h + j];
    last.set(r, j, value);
  });
  __syncthreads();
  auto kept = [=](int r, int step) { return kept_steps == 1 ? own.row + r : (own.row + r) * t + step; };
  for (int step = 0; step < own.steps; step++) {
    last.multiply(partial);
    __syncthreads();
    each_element(own.rows, h, [&](int r, int j) {
      if (step >= length[r]) return;
      const T* given = z + ((own.row + r) * t + step) * 3 * h + j;
      i64 place = kept(r, step);
      T product = last.weights.product(partial, r, j), gate, value;
      value = GruBefore<T>::reset(given, &product, before[r * h + j], &gate);
      update[r * h + j] = given[h] + last.weights.product(partial, r, h + j);
      gates[place * 3 * h + j] = gate;
      reset[place * h + j] = value;
      scaled.set(r, j, value);
    });
    __syncthreads();
    scaled.multiply(partial);
    __syncthreads();
    each_element(own.rows, h, [&](int r, int j) {
      i64 at = (own.row + r) * t + step;
      T value = 0;
      if (step < length[r]) {
        T sums[] = {0, update[r * h + j], z[(at * 3 + 2) * h + j]};
        T products[] = {0, 0, scaled.weights.product(partial, r, j)}, keep[3], none;
        value = GruBefore<T>::forward(sums, products, before[r * h + j], nullptr, none, keep, 0);
        before[r * h + j] = value;
        for (int gate = 1; gate < 3; gate++) gates[(kept(r, step) * 3 + gate) * h + j] = keep[gate];
      }
      hidden[at * h + j] = value;
      last.set(r, j, value);
    });
    __syncthreads();
  }
  each_padded(own, t, [=](i64 place, int j) { hidden[place * h + j] = 0; });
}

// The way back: d_gates (k, b, t, 3h), of the arguments of r, z and n, may be gates; d_state (k, b, h) from d_last; packed
// weights are of the transposed matrices.  d_total (k, b, t, h) gets the whole dE/dh if it is given.
template <class P, int ROWS, class T = typename P::Real>
__global__ void __launch_bounds__(CELL_THREADS, 2)
    gru_before_backward(const i64* lengths, const T* state, const T* hidden, const T* gates,
                        const typename P::Entry* W_gates, const typename P::Entry* W_new, const T* d_hidden,
                        const T* d_last, i64 b, i64 t, i64 width, i64 gate_parts, i64 new_parts, T* d_gates, T* d_state,
                        T* d_total) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int length[ROWS];
  int h = int(width);
  Member own(b, h, 1, 0, ROWS, lengths, length);
  unsigned char* free = shared;
  Link<P, ROWS> both(free, 2 * h, h, gate_parts, W_gates, own);  // gradients of the arguments of r and z
  Link<P, ROWS> fresh(free, h, h, new_parts, W_new, own);        // of that of n
  T* carry = reinterpret_cast<T*>(free);                         // (rows, h): dE/dh from later steps
  T* partial = carry + ROWS * h;
  each_element(own.rows, h, [&](int r, int j) { carry[r * h + j] = d_last[(own.row + r) * h + j]; });
  __syncthreads();
  auto before = [=](int r, int step, int j) {
    return step ? hidden[((own.row + r) * t + step - 1) * h + j] : state[(own.row + r) * h + j];
  };
  for (int step = own.steps - 1; step >= -1; step--) {
    if (step + 1 < own.steps) both.multiply(partial);
    __syncthreads();
    each_element(own.rows, h, [&](int r, int j) {
      T& later = carry[r * h + j];
      if (step + 1 < length[r]) later += both.weights.product(partial, r, j);
      if (step < 0) return;
      i64 at = (own.row + r) * t + step;
      T d_h = 0, d[3] = {}, none = 0;
      if (step < length[r]) {
        T kept[] = {0, gates[(at * 3 + 1) * h + j], gates[(at * 3 + 2) * h + j]};
        d_h = d_hidden[at * h + j] + later;
        later = GruBefore<T>::backward(d_h, 0, before(r, step, j), kept, 0, 0, nullptr, none, d, nullptr, 0);
      }
      if (d_total) d_total[at * h + j] = d_h;
      for (int gate = 1; gate < 3; gate++) d_gates[(at * 3 + gate) * h + j] = d[gate];
      both.set(r, h + j, d[1]);
      fresh.set(r, j, d[2]);
    });
    if (step < 0) break;
    __syncthreads();
    fresh.multiply(partial);
    __syncthreads();
    each_element(own.rows, h, [&](int r, int j) {
      i64 at = ((own.row + r) * t + step) * 3 * h + j;
      T d_r = 0;
      if (step < length[r])
        carry[r * h + j] +=
            GruBefore<T>::reset_back(fresh.weights.product(partial, r, j), before(r, step, j), gates + at, &d_r);
      d_gates[at] = d_r;
      both.set(r, j, d_r);
    });
    __syncthreads();
  }
  each_element(own.rows, h, [&](int r, int j) { d_state[(own.row + r) * h + j] = carry[r * h + j]; });
  each_padded(own, t, [=](i64 place, int j) {
    for (int gate = 0; gate < 3; gate++) d_gates[(place * 3 + gate) * h + j] = 0;
    if (d_total) d_total[place * h + j] = 0;
  });
}
