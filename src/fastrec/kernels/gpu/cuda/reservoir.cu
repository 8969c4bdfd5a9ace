// Echo states: the steps of reservoirs with fixed weights, one block for a row of a network.
#include "recurrent.cuh"

inline constexpr i64 LINEAR = -1;

// The steps begin..end - 1 of rows (k, b), of which `last` (k, b, h + fed) has the state before them, and after: h, and
// beside it the outputs that are fed back, fed = o or 0.
//
// x (m, b, t, i), after t steps the last outputs; targets (own, b, t, o), fed back where there is no readout; lengths
// and washout (b).  W_in (k, i, h), W_fb (k, fed, h), bias, leak (k, h), W_rec (k, h, h) or, with offsets (k, count),
// (k, count, h).  readout (k, 1 + i + h, o).  states (k, b, n, h), outputs (k, b, n, o) and features (k, b, end - begin,
// 1 + i + h + o), of [1, x, h, target], are written unless they are null; the last are 0 before the washout and after
// the end of a row.  scratch: memory of `bytes` a block, null where it is shared.
template <class T>
__global__ void __launch_bounds__(256)
    run_reservoir(const T* x, const T* targets, const i64* lengths, const i64* washout, const T* W_in, const T* W_fb,
                  const T* bias, const T* W_rec, const i64* offsets, const T* leak, const T* readout, i64 b, i64 m,
                  i64 own, i64 t, i64 n, i64 begin, i64 end, i64 i, i64 h, i64 o, i64 fed, i64 count, i64 activation,
                  unsigned char* scratch, i64 bytes, T* states, T* outputs, double* features, T* last) {
  i64 net = blockIdx.x / b, row = blockIdx.x % b, length = lengths[row], wanted = 1 + i + h + o;
  const T *given = x + ((m > 1 ? net : 0) * b + row) * t * i, *goal = targets + ((own > 1 ? net : 0) * b + row) * t * o;
  const T *inward = W_in + net * i * h, *back = W_fb + net * fed * h, *weights = W_rec + net * (count ? count : h) * h;
  const T* out = readout + net * (1 + i + h) * o;
  const i64* places = offsets + net * count;
  T* state = last + (net * b + row) * (h + fed);
  T *read = reinterpret_cast<T*>(own_memory(scratch, bytes)), *y = read + i, *before = y + o, *after = before + h;
  for (i64 j = threadIdx.x; j < h; j += blockDim.x) before[j] = state[j];
  for (i64 j = threadIdx.x; j < fed; j += blockDim.x) y[j] = state[h + j];
  i64 step = begin;
  for (; step < min(end, length); step++) {
    for (i64 j = threadIdx.x; j < i; j += blockDim.x)
      read[j] = step < t ? given[step * i + j] : outputs[(i64(blockIdx.x) * n + step - 1) * o + j];
    __syncthreads();
    double* v = features ? features + (i64(blockIdx.x) * (end - begin) + step - begin) * wanted : nullptr;
    bool counted = v && step >= washout[row];
    for (i64 j = threadIdx.x; j < h; j += blockDim.x) {
      T z = bias[net * h + j], a = leak[net * h + j];
      for (i64 l = 0; l < i; l++) z += read[l] * inward[l * h + j];
      for (i64 l = 0; l < fed; l++) z += y[l] * back[l * h + j];
      for (i64 c = 0; c < count; c++) {
        i64 l = j + places[c];
        z += before[l < h ? l : l - h] * weights[c * h + j];
      }
      for (i64 l = 0; l < h && !count; l++) z += before[l] * weights[l * h + j];
      T value = (1 - a) * before[j] + a * (activation == LINEAR ? z : activate(z, activation));
      after[j] = value;
      if (states) states[(i64(blockIdx.x) * n + step) * h + j] = value;
      if (v) v[1 + i + j] = counted ? value : 0;
    }
    if (v && threadIdx.x == 0) v[0] = counted;
    for (i64 j = threadIdx.x; v && j < i; j += blockDim.x) v[1 + j] = counted ? read[j] : 0;
    for (i64 j = threadIdx.x; v && j < o; j += blockDim.x) v[1 + i + h + j] = counted ? goal[step * o + j] : 0;
    __syncthreads();
    int lane = threadIdx.x % WARP;
    for (i64 j = threadIdx.x / WARP; outputs && j < o; j += blockDim.x / WARP) {
      T sum = 0;
      for (i64 l = lane; l < i; l += WARP) sum += read[l] * out[(1 + l) * o + j];
      for (i64 l = lane; l < h; l += WARP) sum += after[l] * out[(1 + i + l) * o + j];
      sum = warp_sum(sum) + out[j];
      if (lane == 0) outputs[(i64(blockIdx.x) * n + step) * o + j] = y[j] = sum;
    }
    for (i64 j = threadIdx.x; !outputs && j < fed; j += blockDim.x) y[j] = goal[step * o + j];
    T* made = after;
    after = before;
    before = made;
    __syncthreads();
  }
  for (i64 j = threadIdx.x; j < h; j += blockDim.x) state[j] = before[j];
  for (i64 j = threadIdx.x; j < fed; j += blockDim.x) state[h + j] = y[j];
  for (; step < end; step++) {
    for (i64 j = threadIdx.x; states && j < h; j += blockDim.x) states[(i64(blockIdx.x) * n + step) * h + j] = 0;
    for (i64 j = threadIdx.x; outputs && j < o; j += blockDim.x) outputs[(i64(blockIdx.x) * n + step) * o + j] = 0;
    for (i64 j = threadIdx.x; features && j < wanted; j += blockDim.x)
      features[(i64(blockIdx.x) * (end - begin) + step - begin) * wanted + j] = 0;
  }
}
