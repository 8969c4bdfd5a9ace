// Attention of the steps of one network over those of another.  A block takes a few queries, or keys, of a row: warps
// multiply rows of numbers, threads add up columns.  b rows of u queries and t keys, of which steps (b) and lengths (b)
// count; queries (b, u, d), keys (b, t, d), values (b, t, h), weights (b, u, t), v (d) or null.
#include "softmax.cuh"

inline constexpr int TOGETHER = 8;  // queries or keys of a block, one for each of its warps

// The part of a row that a block takes: numbers first..first + count - 1 of those that count, of up to TOGETHER.
struct Part {
  i64 row, first;
  int count, held;  // held: with those that do not count

  __device__ Part(i64 size, const i64* counts) {
    u32 parts = u32((size + TOGETHER - 1) / TOGETHER);
    row = blockIdx.x / parts;
    first = i64(blockIdx.x % parts) * TOGETHER;
    held = int(min(i64(TOGETHER), size - first));
    count = int(max(i64(0), min(i64(held), counts[row] - first)));
  }
};

// out[q t + j] = sum_l left[q size + l] right[j size + l], or of v_l tanh(left + right), for `count` rows q and j < n.
template <bool ADDITIVE, class T>
__device__ __forceinline__ void row_products(const T* left, const T* right, const T* v, int count, i64 n, i64 size,
                                             i64 t, T* out) {
  int lane = threadIdx.x % WARP;
  for (int j = threadIdx.x / WARP; j < n; j += TOGETHER) {
    T sums[TOGETHER] = {};
    for (int l = lane; l < size; l += WARP) {
      T other = right[j * size + l], factor = ADDITIVE ? v[l] : other;
#pragma unroll
      for (int q = 0; q < TOGETHER; q++)
        if (q < count) sums[q] += factor * (ADDITIVE ? tanh(left[q * size + l] + other) : left[q * size + l]);
    }
#pragma unroll
    for (int q = 0; q < TOGETHER; q++) {
      T sum = warp_sum(sums[q]);
      if (lane == 0 && q < count) out[q * t + j] = sum;
    }
  }
}

// Weights, and contexts (b, u, h).
template <class T, bool ADDITIVE>
__global__ void __launch_bounds__(TOGETHER* WARP, 2)
    attend(const T* queries, const i64* steps, const T* keys, const T* values, const i64* lengths, const T* v, i64 u,
           i64 t, i64 d, i64 h, T* weights, T* contexts) {
  Part part(u, steps);
  i64 n = lengths[part.row], at = part.row * u + part.first;
  T* of_queries = weights + at * t;
  row_products<ADDITIVE>(queries + at * d, keys + part.row * t * d, v, part.count, n, d, t, of_queries);
  __syncthreads();
  int query = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  if (query < part.held) {
    T* own = of_queries + query * t;
    i64 live = query < part.count ? n : 0;
    warp_softmax(own, live);
    for (i64 j = live + lane; j < t; j += WARP) own[j] = 0;
  }
  __syncthreads();
  for (int c = threadIdx.x; c < h; c += blockDim.x) {
    T sums[TOGETHER] = {};
    for (int j = 0; j < n && part.count; j++) {
      T value = values[(part.row * t + j) * h + c];
#pragma unroll
      for (int q = 0; q < TOGETHER; q++)
        if (q < part.count) sums[q] += of_queries[q * t + j] * value;
    }
#pragma unroll
    for (int q = 0; q < TOGETHER; q++)
      if (q < part.held) contexts[(at + q) * h + c] = sums[q];
  }
}

// From d_contexts (b, u, h) to the gradients d_scores (b, u, t) of what the softmax was taken of, where both count, and
// d_queries; d_v (b, parts, d), unless v is null, gets the sums of a block.
template <class T, bool ADDITIVE>
__global__ void __launch_bounds__(TOGETHER* WARP, 2)
    attend_back(const T* queries, const i64* steps, const T* keys, const T* values, const i64* lengths, const T* v,
                const T* weights, const T* d_contexts, i64 u, i64 t, i64 d, i64 h, T* d_scores, T* d_queries, T* d_v) {
  Part part(u, steps);
  i64 n = lengths[part.row], at = part.row * u + part.first;
  T* of_queries = d_scores + at * t;
  const T* none = nullptr;
  row_products<false>(d_contexts + at * h, values + part.row * t * h, none, part.count, n, h, t, of_queries);
  __syncthreads();
  int query = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  if (query < part.count) {
    T* own = of_queries + query * t;
    const T* shares = weights + (at + query) * t;
    T along = 0;
    for (int j = lane; j < n; j += WARP) along += shares[j] * own[j];
    along = warp_sum(along);
    for (int j = lane; j < n; j += WARP) own[j] = shares[j] * (own[j] - along);
  }
  __syncthreads();
  for (int c = threadIdx.x; c < d; c += blockDim.x) {
    T sums[TOGETHER] = {}, total = 0, factor = ADDITIVE ? v[c] : T(1);
    for (int j = 0; j < n && part.count; j++) {
      T key = keys[(part.row * t + j) * d + c];
#pragma unroll
      for (int q = 0; q < TOGETHER; q++)
        if (q < part.count) {
          T score = of_queries[q * t + j];
          if (ADDITIVE) {
            T z = tanh(queries[(at + q) * d + c] + key);
            sums[q] += score * factor * (1 - z * z);
            total += score * z;
          } else
            sums[q] += score * key;
        }
    }
#pragma unroll
    for (int q = 0; q < TOGETHER; q++)
      if (q < part.held) d_queries[(at + q) * d + c] = sums[q];
    if (ADDITIVE) d_v[blockIdx.x * d + c] = total;
  }
}

// out[q size + c] = sum_i factors[i t + q] rows[i size + c] over i < n, for `count` columns q; 0 up to `held`.
template <class T>
__device__ __forceinline__ void column_products(const T* factors, const T* rows, int count, int held, i64 n, i64 size,
                                                i64 t, T* out) {
  for (int c = threadIdx.x; c < size; c += blockDim.x) {
    T sums[TOGETHER] = {};
    for (int i = 0; i < n && count; i++) {
      T value = rows[i * size + c];
#pragma unroll
      for (int q = 0; q < TOGETHER; q++)
        if (q < count) sums[q] += factors[i * t + q] * value;
    }
#pragma unroll
    for (int q = 0; q < TOGETHER; q++)
      if (q < held) out[q * size + c] = sums[q];
  }
}

// d_keys and d_values, from d_scores (b, u, t) and d_contexts (b, u, h).
template <class T, bool ADDITIVE>
__global__ void __launch_bounds__(TOGETHER* WARP, 2)
    attend_back_keys(const T* queries, const i64* steps, const T* keys, const i64* lengths, const T* v,
                     const T* weights, const T* d_contexts, const T* d_scores, i64 u, i64 t, i64 d, i64 h, T* d_keys,
                     T* d_values) {
  Part part(t, lengths);
  i64 n = steps[part.row], at = part.row * t + part.first, of_row = part.row * u;
  const T *shares = weights + of_row * t + part.first, *scores = d_scores + of_row * t + part.first;
  column_products(shares, d_contexts + of_row * h, part.count, part.held, n, h, t, d_values + at * h);
  if constexpr (!ADDITIVE)
    column_products(scores, queries + of_row * d, part.count, part.held, n, d, t, d_keys + at * d);
  else
    for (int c = threadIdx.x; c < d; c += blockDim.x) {
      T sums[TOGETHER] = {}, factor = v[c];
      for (int i = 0; i < n && part.count; i++) {
        T query = queries[(of_row + i) * d + c];
#pragma unroll
        for (int q = 0; q < TOGETHER; q++)
          if (q < part.count) {
            T z = tanh(query + keys[(at + q) * d + c]);
            sums[q] += scores[i * t + q] * factor * (1 - z * z);
          }
      }
#pragma unroll
      for (int q = 0; q < TOGETHER; q++)
        if (q < part.held) d_keys[(at + q) * d + c] = sums[q];
    }
}
