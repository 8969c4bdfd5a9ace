// Losses, dropout, noise and optimisers: one pass over each array, sums in a fixed order.  k networks, b rows of t
// steps, o outputs.
#include "philox.cuh"

inline constexpr int THREADS = 256;
inline constexpr int STRETCH = 4 * THREADS;  // numbers of a network that a block of an optimiser takes

// The largest value and the sum of WIDTH threads, in each of them.  partial: 32 values of shared memory, free at the
// call, where a block works together.
template <int WIDTH, class T> __device__ __forceinline__ T group_max(T value, T* partial) {
  for (int distance = min(WIDTH, WARP) / 2; distance; distance /= 2) {
    T other = __shfl_xor_sync(ALL, value, distance);
    if (other > value) value = other;
  }
  if constexpr (WIDTH > WARP) {
    if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = value;
    __syncthreads();
    for (int warp = 0; warp < WIDTH / WARP; warp++)
      if (partial[warp] > value) value = partial[warp];
    __syncthreads();
  }
  return value;
}

template <int WIDTH, class T> __device__ __forceinline__ T group_sum(T value, T* partial) {
  if constexpr (WIDTH > WARP)
    return block_sum(value, partial);
  else {
    for (int distance = WIDTH / 2; distance; distance /= 2) value += __shfl_xor_sync(ALL, value, distance);
    return value;
  }
}

// steps (k, b, t): weights (b, t) times log sum exp y - y[target] of outputs y (k, b, t, o), 0 where the weight is;
// d_outputs gets its gradient times scale (k), and may be outputs or null.  targets (m, b, t).  WIDTH threads for a step.
template <class T, int WIDTH>
__global__ void __launch_bounds__(THREADS)
    cross_entropy(const T* outputs, const int* targets, const double* weights, const double* scale, i64 m, i64 k,
                  i64 b, i64 t, i64 o, double* steps, T* d_outputs) {
  __shared__ T partial[WARP];
  int lane = threadIdx.x % WIDTH;
  i64 n = b * t, all = k * n;
  // All threads of a block take part in every turn.
  for (i64 first = i64(blockIdx.x) * (THREADS / WIDTH); first < all; first += i64(gridDim.x) * (THREADS / WIDTH)) {
    i64 job = first + threadIdx.x / WIDTH;
    i64 net = job / n, step = job - net * n;
    double weight = job < all ? weights[step] : 0;
    bool on = weight != 0;
    int target = on ? targets[(m > 1 ? net * n : 0) + step] : -1;
    const T* y = outputs + job * o;
    // The sum of exp(y - top) with the largest y so far, which is no infinity.
    T top = sizeof(T) == 4 ? T(-3.402823466e38f) : T(-1.7976931348623157e308), total = 0, chosen = 0;
    if (on) {
      for (i64 j = lane; j < o; j += WIDTH) {
        T value = y[j];
        if (value > top) {
          total = total * exp(top - value) + 1;
          top = value;
        } else
          total += exp(value - top);
      }
      chosen = y[target];
    }
    T largest = group_max<WIDTH>(top, partial);
    total = group_sum<WIDTH>(total * exp(top - largest), partial);
    if (lane == 0 && job < all) steps[job] = on ? weight * (log(double(total)) - double(chosen - largest)) : 0;
    // Outputs have been read by all before any is written over.
    if (WIDTH > WARP)
      __syncthreads();
    else
      __syncwarp();
    if (!d_outputs || job >= all) continue;
    T factor = T(scale[net] * weight), part = 1 / total;
    for (i64 j = lane; j < o; j += WIDTH)
      d_outputs[job * o + j] = on ? factor * (exp(y[j] - largest) * part - T(j == target)) : T(0);
  }
}

// Adds to a sum a weight times the loss of an output y with target z, without a factor of all; returns its derivative.
struct SquaredError {
  template <class T> static __device__ __forceinline__ T add(T y, T z, double weight, double& sum) {
    T d = y - z;
    sum += weight * double(d) * double(d);
    return d;
  }
};

struct BinaryCrossEntropy {
  template <class T> static __device__ __forceinline__ T add(T y, T z, double weight, double& sum) {
    T e = exp(y < 0 ? y : -y);
    sum += weight * ((y > 0 ? double(y) : 0.0) - double(y) * double(z) + log1p(double(e)));
    return (y < 0 ? e : T(1)) / (T(1) + e) - z;
  }
};

// partial (k, b, parts): weighted sums over `part` numbers of outputs (k, b, t o) with targets (m, b, t o), weights
// (b, t), where 0 means that a step is not read, and output_weights (o); d_outputs gets the derivatives times scale (k),
// and may be outputs or null.
template <class Loss, class T>
__device__ __forceinline__ void sum_elements(const T* outputs, const T* targets, const double* weights,
                                             const double* output_weights, const double* scale, i64 m, i64 b, i64 t,
                                             i64 o, i64 part, i64 parts, double* partial, T* d_outputs) {
  __shared__ double sums[WARP];
  // Divisions of 64 bits are calls, around which registers would be spilled.
  u32 block = blockIdx.x, row = block / u32(parts), of_batch = row % u32(b);
  i64 first = i64(block % u32(parts)) * part, last = min(first + part, t * o), place = i64(row) * t * o;
  const T* goal = targets + i64(m > 1 ? row : of_batch) * t * o;
  const double* of_steps = weights + of_batch * t;
  double factor = scale[row / u32(b)], sum = 0;
  i64 j = first + threadIdx.x;
  int wide = int(o), turn = int(blockDim.x), step = int(j / o), output = int(j - step * o);
  int steps = turn / wide, rest = turn % wide;
  for (; j < last; j += turn) {
    double weight = of_steps[step];
    T d = 0;
    if (weight != 0) {
      weight *= output_weights[output];
      d = Loss::add(outputs[place + j], goal[j], weight, sum);
    }
    if (d_outputs) d_outputs[place + j] = T(factor * weight) * d;
    step += steps;
    output += rest;
    if (output >= wide) {
      output -= wide;
      step++;
    }
  }
  sum = block_sum(sum, sums);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    squared_error(const T* outputs, const T* targets, const double* weights, const double* output_weights,
                  const double* scale, i64 m, i64 b, i64 t, i64 o, i64 part, i64 parts, double* partial, T* d_outputs) {
  sum_elements<SquaredError>(outputs, targets, weights, output_weights, scale, m, b, t, o, part, parts, partial,
                             d_outputs);
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    binary_cross_entropy(const T* outputs, const T* targets, const double* weights, const double* output_weights,
                         const double* scale, i64 m, i64 b, i64 t, i64 o, i64 part, i64 parts, double* partial,
                         T* d_outputs) {
  sum_elements<BinaryCrossEntropy>(outputs, targets, weights, output_weights, scale, m, b, t, o, part, parts, partial,
                                   d_outputs);
}

// partial (k, parts): sums of squares of `part` numbers each of values (k, n).
template <class T>
__global__ void __launch_bounds__(THREADS) sum_squares(const T* values, i64 n, i64 part, i64 parts, double* partial) {
  __shared__ double sums[WARP];
  i64 net = blockIdx.x / parts, first = blockIdx.x % parts * part, last = min(first + part, n);
  double sum = 0;
#pragma unroll 4
  for (i64 j = first + threadIdx.x; j < last; j += blockDim.x) {
    double value = double(values[net * n + j]);
    sum += value * value;
  }
  sum = block_sum(sum, sums);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// out (rows) = factor times the sums of values (rows, n), or is increased by them; a warp for each.
__global__ void __launch_bounds__(THREADS)
    sum_rows(const double* values, i64 rows, i64 n, double factor, i64 add, double* out) {
  int lane = threadIdx.x % WARP;
  for (i64 row = thread_number() / WARP; row < rows; row += thread_count() / WARP) {
    double sum = 0;
    for (i64 j = lane; j < n; j += WARP) sum += values[row * n + j];
    sum = factor * warp_sum(sum);
    if (lane == 0) out[row] = add ? out[row] + sum : sum;
  }
}

// Passes the numbers of a block's stretch of (k, n) to set(network, place).
template <class Set> __device__ __forceinline__ void each_number(i64 n, Set set) {
  i64 stretches = (n + STRETCH - 1) / STRETCH, net = blockIdx.x / stretches;
  i64 first = blockIdx.x % stretches * STRETCH + threadIdx.x;
#pragma unroll
  for (int turn = 0; turn < STRETCH / THREADS; turn++)
    if (first + turn * THREADS < n) set(net, net * n + first + turn * THREADS);
}

// v = momentum v + scale g; p -= rate v, or rate (scale g + momentum v) after Nesterov; p, g, v (k, n).
template <class T>
__global__ void __launch_bounds__(THREADS)
    sgd(T* p, const T* g, T* v, const double* scale, const double* rate, i64 n, double momentum, i64 nesterov) {
  each_number(n, [=](i64 net, i64 j) {
    T step = T(scale[net]) * g[j], velocity = T(momentum) * v[j] + step;
    v[j] = velocity;
    p[j] -= T(rate[net]) * (nesterov ? step + T(momentum) * velocity : velocity);
  });
}

// out = scale g, no further from 0 than limit, + decay p; p, g, out (k, n).
template <class T>
__global__ void __launch_bounds__(THREADS)
    adjust_gradient(const T* p, const T* g, const double* scale, i64 n, double limit, double decay, T* out) {
  each_number(n, [=](i64 net, i64 j) {
    T value = T(scale[net]) * g[j], most = T(limit);
    value = value > most ? most : value < -most ? -most : value;
    out[j] = value + T(decay) * p[j];
  });
}

// RMSprop, p, g, square and velocity (k, n); rest = 1 - alpha.
template <class T>
__global__ void __launch_bounds__(THREADS)
    rmsprop(T* p, const T* g, T* square, T* velocity, const double* scale, const double* rate, i64 n, double alpha,
            double rest, double epsilon, double momentum) {
  each_number(n, [=](i64 net, i64 j) {
    T step = T(scale[net]) * g[j];
    T second = T(alpha) * square[j] + T(rest) * step * step;
    T v = T(momentum) * velocity[j] + step / (sqrt(second) + T(epsilon));
    square[j] = second;
    velocity[j] = v;
    p[j] -= T(rate[net]) * v;
  });
}

// Adam, p, g, mean and square (k, n); rest = 1 - beta, unbias = 1 - beta^step.
template <class T>
__global__ void __launch_bounds__(THREADS)
    adam(T* p, const T* g, T* mean, T* square, const double* scale, const double* rate, i64 n, double beta1,
         double beta2, double rest1, double rest2, double unbias1, double unbias2, double epsilon, double decay) {
  each_number(n, [=](i64 net, i64 j) {
    T step = T(scale[net]) * g[j];
    T first = T(beta1) * mean[j] + T(rest1) * step;
    T second = T(beta2) * square[j] + T(rest2) * step * step;
    T value = p[j] - T(decay * rate[net]) * p[j];
    mean[j] = first;
    square[j] = second;
    p[j] = value - T(rate[net]) * (first / T(unbias1)) / (sqrt(second / T(unbias2)) + T(epsilon));
  });
}

// Calls use(place, draw) with a draw of 16 bits for each of values (rows, n), `of_network` rows a network.  A thread
// takes the eight of a block of draws.
template <class Use>
__device__ __forceinline__ void each_short_draw(u64 key, u32 tag, i64 rows, i64 of_network, i64 n, Use use) {
  i64 groups = (n + 7) / 8;
  for (i64 job = thread_number(); job < rows * groups; job += thread_count()) {
    i64 row = job / groups, group = job % groups, net = row / of_network;
    Draws draws = philox4x32(key, u32(group), u32(row % of_network), u32(net), tag);
#pragma unroll
    for (int j = 0; j < 8; j++)
      if (group * 8 + j < n) use(row * n + group * 8 + j, u32(draws[j / 4] >> 16 * (j % 4)) & 0xffff);
  }
}

// values (rows, n): 0 where a draw of 16 bits is below the threshold, else times scale.
template <class T>
__global__ void __launch_bounds__(THREADS)
    dropout(u64 key, i64 layer, i64 threshold, double scale, i64 rows, i64 of_network, i64 n, T* values) {
  each_short_draw(key, tag(DROPOUT, layer), rows, of_network, n, [=](i64 place, u32 draw) {
    values[place] = draw < threshold ? T(0) : T(scale) * values[place];
  });
}

// values (rows, n) = deviation times the element of table (2^16) that a draw of 16 bits names.
template <class T>
__global__ void __launch_bounds__(THREADS) normal_noise(u64 key, i64 layer, double deviation, const T* table, i64 rows,
                                                        i64 of_network, i64 n, T* values) {
  each_short_draw(key, tag(NOISE, layer), rows, of_network, n,
                  [=](i64 place, u32 draw) { values[place] = T(deviation) * table[draw]; });
}

// found (1), 0 before: 1 if one of values (n) is NaN or infinite.
template <class T> __global__ void __launch_bounds__(THREADS) find_infinite(const T* values, i64 n, int* found) {
  bool own = false;
#pragma unroll 4
  for (i64 j = thread_number(); j < n; j += thread_count()) own |= !isfinite(values[j]);
  if (own) atomicOr(found, 1);
}
