// Projections of inputs and sums of gradients over all steps: k networks, b rows of t steps, lengths (b), n = b t.
// Arrays with a leading m = 1 or k are shared by all networks if that is 1.
#include "mma.cuh"

inline constexpr int DIGITS = 256, WARPS = 8, ROUNDS = 8;  // of a sort by 8 bits
inline constexpr int TILE = WARPS * ROUNDS * WARP;
inline constexpr int PIECE = 128;  // sorted steps that a block looks at together

// Whether a step, numbered through the rows, is not padding.
__device__ __forceinline__ bool is_on(const i64* lengths, i64 step, i64 t) { return step % t < lengths[step / t]; }

// Passes the steps of a (networks, b, t, width) array to use(network, step, whether it is no padding, place of its
// first number), a warp for each.
template <class Use>
__device__ __forceinline__ void each_step(const i64* lengths, i64 networks, i64 b, i64 t, i64 width, Use use) {
  i64 n = b * t;
  for (i64 job = thread_number() / WARP; job < networks * n; job += thread_count() / WARP) {
    i64 net = job / n, step = job - net * n;
    use(net, step, is_on(lengths, step, t), job * width);
  }
}

// out (k, b, t, width) += bias (k, width), 0 in the padding.
template <class T>
__global__ void __launch_bounds__(256)
    add_bias(const i64* lengths, const T* bias, i64 k, i64 b, i64 t, i64 width, T* out) {
  each_step(lengths, k, b, t, width, [=](i64 net, i64, bool on, i64 first) {
    for (i64 j = threadIdx.x % WARP; j < width; j += WARP)
      out[first + j] = on ? out[first + j] + bias[net * width + j] : T(0);
  });
}

// out (k, b, t, width) = the rows of W (k, i, width) that tokens (m, b, t) name + bias (k, width), 0 in the padding.
template <class T>
__global__ void __launch_bounds__(256)
    gather(const int* tokens, const i64* lengths, const T* W, const T* bias, i64 m, i64 i, i64 k, i64 b, i64 t,
           i64 width, T* out) {
  each_step(lengths, k, b, t, width, [=](i64 net, i64 step, bool on, i64 first) {
    i64 row = net * i + (on ? tokens[(m > 1 ? net * b * t : 0) + step] : 0);
    for (i64 j = threadIdx.x % WARP; j < width; j += WARP)
      out[first + j] = on ? W[row * width + j] + bias[net * width + j] : T(0);
  });
}

// clean (m, b, t, width) = x, 0 in the padding.
template <class T>
__global__ void __launch_bounds__(256)
    clear_padding(const T* x, const i64* lengths, i64 m, i64 b, i64 t, i64 width, T* clean) {
  each_step(lengths, m, b, t, width, [=](i64, i64, bool on, i64 first) {
    for (i64 j = threadIdx.x % WARP; j < width; j += WARP) clean[first + j] = on ? x[first + j] : T(0);
  });
}

// out (k, rows, columns) = x rounded to bf16 or tf32, whose rows and networks are `row` and `network` apart.
template <class Operand>
__global__ void __launch_bounds__(256)
    round_factor(const float* x, i64 k, i64 rows, i64 columns, i64 network, i64 row, Operand* out) {
  for (i64 i = thread_number(); i < k * rows * columns; i += thread_count()) {
    float value = x[i / columns / rows * network + i / columns % rows * row + i % columns];
    if constexpr (sizeof(Operand) == 2)
      out[i] = to_bf16(value);
    else
      out[i] = to_tf32(value);
  }
}

// partial (k, parts, h): the sums of `part` steps each of d (k, b, t, h); with lengths those that are no padding,
// and clean is d, 0 in the padding.  A block for 32 columns of a part.
template <class T>
__global__ void __launch_bounds__(256)
    sum_steps(const T* d, const i64* lengths, i64 b, i64 t, i64 h, i64 part, i64 parts, T* clean, T* partial) {
  __shared__ T sums[WARPS][WARP];
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  i64 tiles = (h + WARP - 1) / WARP, j = blockIdx.x % tiles * WARP + lane, own = blockIdx.x / tiles;
  i64 net = own / parts, first = own % parts * part, last = min(first + part, b * t);
  T sum = 0;
  if (j < h)
#pragma unroll 4
    for (i64 step = first + warp; step < last; step += WARPS) {
      i64 place = (net * b * t + step) * h + j;
      T value = lengths && !is_on(lengths, step, t) ? T(0) : d[place];
      if (lengths) clean[place] = value;
      sum += value;
    }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp == 0 && j < h) {
    for (int other = 1; other < WARPS; other++) sum += sums[other][lane];
    partial[own * h + j] = sum;
  }
}

// out (k, h) = the sums of partial (k, parts, h).
template <class T>
__global__ void __launch_bounds__(256) join_sums(const T* partial, i64 k, i64 parts, i64 h, T* out) {
  for (i64 place = thread_number(); place < k * h; place += thread_count()) {
    T sum = 0;
#pragma unroll 4
    for (i64 part = 0; part < parts; part++) sum += partial[(place / h * parts + part) * h + place % h];
    out[place] = sum;
  }
}

// The steps of several rows sorted by token: a number of a step, -1 in its place is none.
struct Steps {
  const int* steps;  // (n) sorted, or null: in order
  const int* tokens;
  const i64* lengths;
  i64 n, t, i;

  __device__ __forceinline__ Steps(const int* steps, const int* tokens, const i64* lengths, i64 m, i64 n, i64 t,
                                   i64 i, i64 net)
      : steps(steps ? steps + (m > 1 ? net * n : 0) : nullptr), tokens(tokens + (m > 1 ? net * n : 0)),
        lengths(lengths), n(n), t(t), i(i) {}

  __device__ __forceinline__ i64 step(i64 place) const { return steps ? steps[place] : place; }

  // The token of a step, i in the padding.
  __device__ __forceinline__ i64 token(i64 step) const { return is_on(lengths, step, t) ? tokens[step] : i; }

  // The first place whose token is not below this one.
  __device__ __forceinline__ i64 find(i64 wanted) const {
    i64 low = 0, high = n;
    while (low < high) {
      i64 middle = (low + high) / 2;
      if (token(step(middle)) < wanted)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
};

// Passes the steps of a tile to use(step, digit, lanes with that digit), 32 at a time and in order within a warp.
template <class Use> __device__ __forceinline__ void each_digit(const Steps& from, i64 tile, i64 shift, Use use) {
  i64 first = tile * TILE + threadIdx.x / WARP * (ROUNDS * WARP) + threadIdx.x % WARP;
  for (int round = 0; round < ROUNDS; round++) {
    i64 place = first + round * WARP;
    i64 step = place < from.n ? from.step(place) : -1;
    int digit = step < 0 ? DIGITS : int(from.token(step) >> shift & (DIGITS - 1));
    use(step, digit, __match_any_sync(ALL, digit));
    __syncwarp();
  }
}

// counters (DIGITS) of each warp: the digits of its steps.
__device__ __forceinline__ void count_own(const Steps& from, i64 tile, i64 shift, int (*counters)[DIGITS]) {
  int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  for (int digit = lane; digit < DIGITS; digit += WARP) counters[warp][digit] = 0;
  __syncwarp();
  each_digit(from, tile, shift, [=](i64 step, int digit, u32 equal) {
    if (step >= 0 && lane == __ffs(equal) - 1) counters[warp][digit] += __popc(equal);
  });
  __syncthreads();
}

// counts (m, tiles, DIGITS): how many steps of each tile have each digit, the 8 bits of their token from `shift` on.
__global__ void __launch_bounds__(256)
    count_digits(const int* steps, const int* tokens, const i64* lengths, i64 m, i64 n, i64 t, i64 i, i64 shift,
                 i64 tiles, int* counts) {
  __shared__ int counters[WARPS][DIGITS];
  count_own(Steps(steps, tokens, lengths, m, n, t, i, blockIdx.x / tiles), blockIdx.x % tiles, shift, counters);
  int total = 0;
  for (int warp = 0; warp < WARPS; warp++) total += counters[warp][threadIdx.x];
  counts[i64(blockIdx.x) * DIGITS + threadIdx.x] = total;
}

// counts (m, tiles, DIGITS) become the places of the first step of each tile with each digit; a block for each m.
__global__ void __launch_bounds__(256) scan_digits(i64 tiles, int* counts) {
  __shared__ int totals[DIGITS];
  int* own = counts + blockIdx.x * tiles * DIGITS + threadIdx.x;
  int total = 0, place = 0;
#pragma unroll 8
  for (i64 tile = 0; tile < tiles; tile++) total += own[tile * DIGITS];
  totals[threadIdx.x] = total;
  __syncthreads();
  for (int digit = 0; digit < threadIdx.x; digit++) place += totals[digit];
#pragma unroll 8
  for (i64 tile = 0; tile < tiles; tile++) {
    int count = own[tile * DIGITS];
    own[tile * DIGITS] = place;
    place += count;
  }
}

// sorted (m, n): the steps by digit, from the places in counts; equal ones keep their order.
__global__ void __launch_bounds__(256)
    scatter_steps(const int* steps, const int* tokens, const i64* lengths, i64 m, i64 n, i64 t, i64 i, i64 shift,
                  i64 tiles, const int* counts, int* sorted) {
  __shared__ int counters[WARPS][DIGITS];
  i64 net = blockIdx.x / tiles, tile = blockIdx.x % tiles;
  Steps from(steps, tokens, lengths, m, n, t, i, net);
  int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  count_own(from, tile, shift, counters);
  int place = counts[i64(blockIdx.x) * DIGITS + threadIdx.x];
  for (int other = 0; other < WARPS; other++) {
    int count = counters[other][threadIdx.x];
    counters[other][threadIdx.x] = place;
    place += count;
  }
  __syncthreads();
  int(*places)[DIGITS] = counters;
  each_digit(from, tile, shift, [=](i64 step, int digit, u32 equal) {
    if (step >= 0) sorted[net * n + places[warp][digit] + __popc(equal & ((1u << lane) - 1))] = int(step);
    __syncwarp();
    if (step >= 0 && lane == __ffs(equal) - 1) places[warp][digit] += __popc(equal);
  });
}

// d_W (k, i, width): the sum over each token's steps of the first columns of d (k, n, stride), where they are all in
// one part of the sorted steps.  What of others is in a part goes to partial (k, parts, 2, width): first what
// began before the part, then what began in it.  A block for PIECE columns of a part.
template <class T>
__global__ void __launch_bounds__(PIECE)
    sum_runs(const int* steps, const int* tokens, const i64* lengths, i64 m, i64 n, i64 t, i64 i, const T* d, i64 k,
             i64 stride, i64 width, i64 part, i64 parts, T* partial, T* d_W) {
  __shared__ int own_steps[PIECE], own_tokens[PIECE];
  i64 tiles = (width + PIECE - 1) / PIECE, j = blockIdx.x % tiles * PIECE + threadIdx.x, job = blockIdx.x / tiles;
  i64 net = job / parts, first = job % parts * part, last = min(first + part, n);
  Steps from(steps, tokens, lengths, m, n, t, i, net);
  i64 before = first ? from.token(from.step(first - 1)) : -1, after = last < n ? from.token(from.step(last)) : -1;
  T sum = 0;
  i64 token = -1;  // that sum is of
  bool continued = false;

  auto finish = [&](bool goes_on) {
    if (token < 0 || token == i || j >= width) return;
    if (continued || goes_on)
      partial[(job * 2 + !continued) * width + j] = sum;
    else
      d_W[(net * i + token) * width + j] = sum;
  };
  for (i64 begin = first; begin < last; begin += PIECE) {
    i64 place = begin + threadIdx.x;
    __syncthreads();
    if (place < last) {
      own_steps[threadIdx.x] = int(from.step(place));
      own_tokens[threadIdx.x] = int(from.token(from.step(place)));
    }
    __syncthreads();
    int count = int(min(last - begin, i64(PIECE)));
#pragma unroll 4
    for (int s = 0; s < count; s++) {
      T value = j < width && own_tokens[s] < i ? d[(net * n + own_steps[s]) * stride + j] : T(0);
      if (own_tokens[s] != token) {
        finish(false);
        token = own_tokens[s];
        continued = begin + s == first && token == before;
        sum = 0;
      }
      sum += value;
    }
  }
  finish(token == after);
}

// d_W (k, i, width): 0 for tokens without a step, the sums of partial for those in several parts.  A block for each.
template <class T>
__global__ void __launch_bounds__(PIECE)
    join_runs(const int* steps, const int* tokens, const i64* lengths, i64 m, i64 n, i64 t, i64 i, const T* partial,
              i64 width, i64 part, i64 parts, T* d_W) {
  i64 net = blockIdx.x / i, token = blockIdx.x % i;
  Steps from(steps, tokens, lengths, m, n, t, i, net);
  i64 first = from.find(token), last = from.find(token + 1);
  i64 first_part = first / part, last_part = (last - 1) / part;
  if (first < last && first_part == last_part) return;
  for (i64 j = threadIdx.x; j < width; j += PIECE) {
    T sum = 0;
    if (first < last) {
      sum = partial[((net * parts + first_part) * 2 + 1) * width + j];
#pragma unroll 4
      for (i64 own = first_part + 1; own <= last_part; own++) sum += partial[(net * parts + own) * 2 * width + j];
    }
    d_W[(net * i + token) * width + j] = sum;
  }
}
