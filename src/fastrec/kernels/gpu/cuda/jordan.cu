// Jordan networks: the outputs are what a step hands on, so that a step is two products, one after the other.  A block takes
// up to ROWS rows; weights come from L2.
#include "recurrent.cuh"

// hidden (k, b, t, h) = f(z + y W_rec) and outputs (k, b, t, o) = hidden W_out + b_out, z (k, b, t, h) = x W_in + b; W_rec (k, o,
// h), W_out (k, h, o), b_out (k, o), state (k, b, o), lengths (b).
template <class T, int ROWS>
__global__ void __launch_bounds__(CELL_THREADS, 2)
    jordan_forward(const T* z, const i64* lengths, const T* state, const T* W_rec, const T* W_out, const T* b_out, i64 b,
                   i64 t, i64 width, i64 outs, i64 activation, T* hidden, T* outputs) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int length[ROWS];
  int h = int(width), o = int(outs);
  Member own(b, h, 1, 0, ROWS, lengths, length);
  int h_parts = max(1, CELL_THREADS / h), o_parts = max(1, CELL_THREADS / o);
  T* y = reinterpret_cast<T*>(shared);  // (o, ROWS)
  T* s = y + whole_pieces<T>(o * ROWS);  // (h, ROWS)
  T* partial = s + h * ROWS;            // (parts, ROWS, h or o)
  const T *recurrent = W_rec + own.network * o * h, *out = W_out + own.network * h * o;
  for (int i = threadIdx.x; i < o * ROWS; i += CELL_THREADS)
    y[i] = i % ROWS < own.rows ? state[(own.row + i % ROWS) * o + i / ROWS] : T(0);
  for (int i = threadIdx.x; i < h * ROWS; i += CELL_THREADS) s[i] = 0;
  __syncthreads();
  for (int step = 0; step < own.steps; step++) {
    multiply<ROWS>(y, o, [=](int c) { return recurrent + c; }, h, h, h_parts, partial);
    __syncthreads();
    for (int e = threadIdx.x; e < own.rows * h; e += CELL_THREADS) {
      int r = e / h, j = e % h;
      i64 at = ((own.row + r) * t + step) * h + j;
      T value = step < length[r] ? activate(z[at] + product_of<ROWS>(partial, h, h_parts, r, j), activation) : T(0);
      hidden[at] = s[j * ROWS + r] = value;
    }
    __syncthreads();
    multiply<ROWS>(s, h, [=](int c) { return out + c; }, o, o, o_parts, partial);
    __syncthreads();
    for (int e = threadIdx.x; e < own.rows * o; e += CELL_THREADS) {
      int r = e / o, j = e % o;
      T value = step < length[r] ? product_of<ROWS>(partial, o, o_parts, r, j) + b_out[own.network * o + j] : T(0);
      outputs[((own.row + r) * t + step) * o + j] = y[j * ROWS + r] = value;
    }
    __syncthreads();
  }
  each_padded(own, t, [=](i64 place, int j) { hidden[place * h + j] = 0; });
  own.units = o;
  each_padded(own, t, [=](i64 place, int j) { outputs[place * o + j] = 0; });
}

// The way back: d_z (k, b, t, h), of the argument of f, may be d_hidden, d_y (k, b, t, o), the whole dE/dy, d_outputs; d_state (k,
// b, o) from d_last.  d_total (k, b, t, h) gets the whole dE/dh if it is given.
template <class T, int ROWS>
__global__ void __launch_bounds__(CELL_THREADS, 2)
    jordan_backward(const i64* lengths, const T* hidden, const T* W_rec, const T* W_out, const T* d_hidden,
                    const T* d_outputs, const T* d_last, i64 b, i64 t, i64 width, i64 outs, i64 activation, T* d_z, T* d_y,
                    T* d_state, T* d_total) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int length[ROWS];
  int h = int(width), o = int(outs);
  Member own(b, h, 1, 0, ROWS, lengths, length);
  int h_parts = max(1, CELL_THREADS / h), o_parts = max(1, CELL_THREADS / o);
  T* y = reinterpret_cast<T*>(shared);  // (o, ROWS): dE/dy
  T* s = y + whole_pieces<T>(o * ROWS);  // (h, ROWS): of the argument of f
  T* partial = s + h * ROWS;            // (parts, ROWS, h or o)
  T* carry = partial + ROWS * max(CELL_THREADS, max(h, o));  // (rows, o): dE/dy from later steps
  const T *recurrent = W_rec + own.network * o * h, *out = W_out + own.network * h * o;
  for (int e = threadIdx.x; e < own.rows * o; e += CELL_THREADS) carry[e] = d_last[own.row * o + e];
  for (int i = threadIdx.x; i < o * ROWS; i += CELL_THREADS) y[i] = 0;
  for (int i = threadIdx.x; i < h * ROWS; i += CELL_THREADS) s[i] = 0;
  __syncthreads();
  for (int step = own.steps - 1; step >= -1; step--) {
    if (step + 1 < own.steps)
      multiply<ROWS>(s, h, [=](int c) { return recurrent + i64(c) * h; }, 1, o, o_parts, partial);
    __syncthreads();
    for (int e = threadIdx.x; e < own.rows * o; e += CELL_THREADS) {
      int r = e / o, j = e % o;
      if (step + 1 < length[r]) carry[e] = product_of<ROWS>(partial, o, o_parts, r, j);
      if (step < 0) continue;
      i64 at = ((own.row + r) * t + step) * o + j;
      d_y[at] = y[j * ROWS + r] = step < length[r] ? d_outputs[at] + carry[e] : T(0);
    }
    if (step < 0) break;
    __syncthreads();
    multiply<ROWS>(y, o, [=](int c) { return out + i64(c) * o; }, 1, h, h_parts, partial);
    __syncthreads();
    for (int e = threadIdx.x; e < own.rows * h; e += CELL_THREADS) {
      int r = e / h, j = e % h;
      i64 at = ((own.row + r) * t + step) * h + j;
      T d_h = step < length[r] ? d_hidden[at] + product_of<ROWS>(partial, h, h_parts, r, j) : T(0);
      if (d_total) d_total[at] = d_h;
      d_z[at] = s[j * ROWS + r] = d_h * slope(hidden[at], activation);
    }
    __syncthreads();
  }
  for (int e = threadIdx.x; e < own.rows * o; e += CELL_THREADS) d_state[own.row * o + e] = carry[e];
  each_padded(own, t, [=](i64 place, int j) {
    d_z[place * h + j] = 0;
    if (d_total) d_total[place * h + j] = 0;
  });
  own.units = o;
  each_padded(own, t, [=](i64 place, int j) { d_y[place * o + j] = 0; });
}
