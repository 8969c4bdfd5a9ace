// Jordan networks: the outputs are what a step hands on, so that a step is two products, one after the other.  A block
// takes up to ROWS rows; weights come from L2.
#include "link.cuh"

// hidden (k, b, t, h) = f(z + y W_rec) and outputs (k, b, t, o) = hidden W_out + b_out, z (k, b, t, h) = x W_in + b;
// packed weights, b_out (k, o), state (k, b, o), lengths (b).
template <class P, int ROWS, class T = typename P::Real>
__global__ void __launch_bounds__(CELL_THREADS, 2)
    jordan_forward(const T* z, const i64* lengths, const T* state, const typename P::Entry* W_rec,
                   const typename P::Entry* W_out, const T* b_out, i64 b, i64 t, i64 width, i64 outs,
                   i64 recurrent_parts, i64 out_parts, i64 activation, T* hidden, T* outputs) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int length[ROWS];
  int h = int(width), o = int(outs);
  Member own(b, h, 1, 0, ROWS, lengths, length);
  unsigned char* free = shared;
  Link<P, ROWS> y(free, o, h, recurrent_parts, W_rec, own), s(free, h, o, out_parts, W_out, own);
  T* partial = reinterpret_cast<T*>(free);
  each_element(own.rows, o, [&](int r, int j) { y.set(r, j, state[(own.row + r) * o + j]); });
  __syncthreads();
  for (int step = 0; step < own.steps; step++) {
    y.multiply(partial);
    __syncthreads();
    each_element(own.rows, h, [&](int r, int j) {
      i64 at = ((own.row + r) * t + step) * h + j;
      T value = step < length[r] ? activate(z[at] + y.weights.product(partial, r, j), activation) : T(0);
      hidden[at] = value;
      s.set(r, j, value);
    });
    __syncthreads();
    s.multiply(partial);
    __syncthreads();
    each_element(own.rows, o, [&](int r, int j) {
      T value = step < length[r] ? s.weights.product(partial, r, j) + b_out[own.network * o + j] : T(0);
      outputs[((own.row + r) * t + step) * o + j] = value;
      y.set(r, j, value);
    });
    __syncthreads();
  }
  each_padded(own, t, [=](i64 place, int j) { hidden[place * h + j] = 0; });
  own.units = o;
  each_padded(own, t, [=](i64 place, int j) { outputs[place * o + j] = 0; });
}

// The way back: d_z (k, b, t, h), of the argument of f, may be d_hidden, d_y (k, b, t, o), the whole dE/dy, d_outputs;
// d_state (k, b, o) from d_last; packed weights are of the transposed matrices.  d_total (k, b, t, h) gets the whole
// dE/dh if it is given.
template <class P, int ROWS, class T = typename P::Real>
__global__ void __launch_bounds__(CELL_THREADS, 2)
    jordan_backward(const i64* lengths, const T* hidden, const typename P::Entry* W_rec, const typename P::Entry* W_out,
                    const T* d_hidden, const T* d_outputs, const T* d_last, i64 b, i64 t, i64 width, i64 outs,
                    i64 recurrent_parts, i64 out_parts, i64 activation, T* d_z, T* d_y, T* d_state, T* d_total) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int length[ROWS];
  int h = int(width), o = int(outs);
  Member own(b, h, 1, 0, ROWS, lengths, length);
  unsigned char* free = shared;
  Link<P, ROWS> s(free, h, o, recurrent_parts, W_rec, own);  // gradients of the argument of f
  Link<P, ROWS> y(free, o, h, out_parts, W_out, own);        // dE/dy
  T* carry = reinterpret_cast<T*>(free);                     // (rows, o): dE/dy from later steps
  T* partial = carry + ROWS * o;
  each_element(own.rows, o, [&](int r, int j) { carry[r * o + j] = d_last[(own.row + r) * o + j]; });
  __syncthreads();
  for (int step = own.steps - 1; step >= -1; step--) {
    if (step + 1 < own.steps) s.multiply(partial);
    __syncthreads();
    each_element(own.rows, o, [&](int r, int j) {
      if (step + 1 < length[r]) carry[r * o + j] = s.weights.product(partial, r, j);
      if (step < 0) return;
      i64 at = ((own.row + r) * t + step) * o + j;
      T d = step < length[r] ? d_outputs[at] + carry[r * o + j] : T(0);
      d_y[at] = d;
      y.set(r, j, d);
    });
    if (step < 0) break;
    __syncthreads();
    y.multiply(partial);
    __syncthreads();
    each_element(own.rows, h, [&](int r, int j) {
      i64 at = ((own.row + r) * t + step) * h + j;
      T d_h = step < length[r] ? d_hidden[at] + y.weights.product(partial, r, j) : T(0);
      T d = d_h * slope(hidden[at], activation);
      if (d_total) d_total[at] = d_h;
      d_z[at] = d;
      s.set(r, j, d);
    });
    __syncthreads();
  }
  each_element(own.rows, o, [&](int r, int j) { d_state[(own.row + r) * o + j] = carry[r * o + j]; });
  each_padded(own, t, [=](i64 place, int j) {
    d_z[place * h + j] = 0;
    if (d_total) d_total[place * h + j] = 0;
  });
  own.units = o;
  each_padded(own, t, [=](i64 place, int j) { d_y[place * o + j] = 0; });
}
