// Connectionist temporal classification, and prefix beam search: a block takes the steps of a row.  b rows of t steps,
// o outputs, u labels.
#include "softmax.cuh"

inline constexpr int THREADS = 256;
inline constexpr double NEVER = -1e300;  // the exponent of 0
inline constexpr double LEAST = -1e290;  // the logarithm of a chance that outputs can have
inline constexpr double LN2 = 0.693147180559945309417;

__device__ __forceinline__ double infinity() { return __longlong_as_double(0x7ffll << 52); }

// A chance m 2^n, whose n is whole, and m from 1 to 2 once it is normalised: chances of alignments, and those of the
// states of one step beside each other, run out of any format.
struct Chance {
  double m, n;
};

// m 2^n for n of at most 1, and 0 below the least exponent.
__device__ __forceinline__ double scaled(double m, double n) {
  return n < -1022 ? 0 : m * __longlong_as_double(i64(n < 1 ? n + 1023 : 1024) << 52);
}

__device__ __forceinline__ Chance operator+(Chance a, Chance b) {
  double n = a.n > b.n ? a.n : b.n;
  return {scaled(a.m, a.n - n) + scaled(b.m, b.n - n), n};
}

__device__ __forceinline__ Chance operator*(Chance a, Chance b) {
  u64 bits = u64(__double_as_longlong(a.m * b.m));
  double m = __longlong_as_double(i64((bits & ((1ull << 52) - 1)) | 1023ull << 52));
  return {m, a.n + b.n + (double(bits >> 52) - 1023)};
}

// e^t for t <= 0.
__device__ __forceinline__ Chance exponential(double t) {
  if (t < LEAST) t = LEAST;
  double n = rint(t / LN2), r = fma(n, -1.42860682030941723e-6, fma(n, -0.693145751953125, t));
  return {exp(r < -0.35 ? -0.35 : r > 0.35 ? 0.35 : r), n};
}

// The largest of y (o), and log sum exp of y less that, for a warp.
template <class T> __device__ __forceinline__ Chance top_and_norm(const T* y, i64 o) {
  int lane = threadIdx.x % WARP;
  double top = y[0], sum = 0;
  for (i64 j = lane; j < o; j += WARP)
    if (y[j] > top) top = y[j];
  top = warp_largest(top);
  for (i64 j = lane; j < o; j += WARP) sum += exp(double(y[j]) - top);
  return {top, log(warp_sum(sum))};
}

// The chance to come to state s after a step from those before it, without that of its class: from itself, from the
// state before it, and where `skips` from the one before that.  way: 1 ahead, -1 back.
__device__ __forceinline__ Chance coming(const Chance* before, i64 s, i64 states, int way, bool skips) {
  Chance sum = before[s];
  if (s - way >= 0 && s - way < states) sum = sum + before[s - way];
  return skips ? sum + before[s - 2 * way] : sum;
}

// Losses (k, b) of rows first..first + blocks - 1 of outputs (k, b, t, o), with labels (m, b, u) and weights (b), and
// their gradients d_outputs unless null: as kernels/cpu/ctc.py has them, but for the order of sums.  States are blanks
// (even) and labels (odd).  lattice (blocks, held, 2 u + 1): chances before each step and after the last, or where
// held = 2 after the last one or two; norms (blocks, t): `top_and_norm` of each step.  scratch: memory of `bytes` a
// block, null where it is shared.  Sums do not depend on the number of threads, or on u.
template <class T>
__global__ void __launch_bounds__(THREADS)
    ctc(const T* outputs, const int* labels, const i64* lengths, const double* weights, const double* scale, i64 first,
        i64 m, i64 b, i64 t, i64 u, i64 o, i64 blank, i64 held, Chance* lattice, Chance* norms, unsigned char* scratch,
        i64 bytes, double* losses, T* d_outputs) {
  i64 row = first + blockIdx.x, net = row / b, of_batch = row % b, steps = lengths[of_batch];
  const int* given = labels + ((m > 1 ? net : 0) * b + of_batch) * u;
  const T* y = outputs + row * t * o;
  double weight = weights[of_batch];
  int lane = threadIdx.x % WARP, count = 0, warps = blockDim.x / WARP;
  i64 least = 0;
  for (; count < u && given[count] >= 0; count++) least += 1 + (count > 0 && given[count] == given[count - 1]);
  i64 states = 2 * i64(count) + 1;
  lattice += blockIdx.x * held * (2 * u + 1);
  norms += blockIdx.x * t;
  Chance* back = reinterpret_cast<Chance*>(own_memory(scratch, bytes));
  double *shares = reinterpret_cast<double*>(back + 2 * states), *posterior = shares + states;
  int* next = reinterpret_cast<int*>(posterior + o);  // label of the same class, u: none; -1 - that of the others
  auto skips = [&](i64 s) { return s > 1 && s < states && s % 2 && given[s / 2] != given[s / 2 - 1]; };

  bool possible = weight != 0 && least <= steps;
  Chance all = {1, NEVER};
  double loss = infinity(), log_norms = 0;
  if (possible) {
    for (i64 step = threadIdx.x / WARP; step < steps; step += warps) {
      Chance norm = top_and_norm(y + step * o, o);
      if (lane == 0) norms[step] = norm;
    }
    for (i64 s = threadIdx.x; s < states; s += blockDim.x) lattice[s] = {1, s ? NEVER : 0};
    __syncthreads();
    for (i64 step = 0; step < steps; step++) {
      const Chance* before = lattice + step % held * (2 * u + 1);
      Chance* after = lattice + (step + 1) % held * (2 * u + 1);
      for (i64 s = threadIdx.x; s < states; s += blockDim.x) {
        i64 label = s % 2 ? given[s / 2] : blank;
        after[s] = coming(before, s, states, 1, skips(s)) * exponential(y[step * o + label] - norms[step].m);
      }
      __syncthreads();
    }
    const Chance* end = lattice + steps % held * (2 * u + 1);
    all = count ? end[states - 1] + end[states - 2] : end[0];
    for (i64 step = lane; step < steps; step += WARP) log_norms += norms[step].n;
    log_norms = warp_sum(log_norms);
    if (all.n > LEAST) loss = log_norms - (log(all.m) + all.n * LN2);
  }
  if (threadIdx.x == 0) losses[row] = weight != 0 ? weight * loss : 0;
  if (!d_outputs) return;

  T* d = d_outputs + row * t * o;
  i64 done = all.n > LEAST ? steps : 0;
  for (i64 j = done * o + threadIdx.x; j < t * o; j += blockDim.x) d[j] = 0;
  if (!done) return;
  for (i64 s = threadIdx.x; s < states; s += blockDim.x)
    back[steps % 2 * states + s] = {s + 1 < states ? 1 : 1 / all.m, s + 1 < states ? NEVER : -all.n};
  for (i64 j = threadIdx.x; j < o; j += blockDim.x) posterior[j] = 0;
  for (int j = threadIdx.x; j < count; j += blockDim.x) {
    int before = j - 1, after = j + 1;
    while (before >= 0 && given[before] != given[j]) before--;
    while (after < count && given[after] != given[j]) after++;
    next[j] = before < 0 ? after : -1 - after;
  }
  __syncthreads();
  double factor = scale[net] * weight;
  for (i64 step = steps - 1; step >= 0; step--) {
    const Chance *after = back + (step + 1) % 2 * states, *ahead = lattice + (step + 1) * (2 * u + 1);
    Chance* before = back + step % 2 * states;
    for (i64 s = threadIdx.x; s < states; s += blockDim.x) {
      i64 label = s % 2 ? given[s / 2] : blank;
      Chance chance = coming(after, s, states, -1, skips(s + 2));
      before[s] = chance * exponential(y[step * o + label] - norms[step].m);
      shares[s] = scaled(chance.m * ahead[s].m, chance.n + ahead[s].n);
    }
    __syncthreads();
    for (int j = threadIdx.x; j < count; j += blockDim.x) {
      if (next[j] < 0) continue;
      double sum = 0;
      for (int at = j; at < count; at = next[at] < 0 ? -1 - next[at] : next[at]) sum += shares[2 * at + 1];
      posterior[given[j]] = sum;
    }
    if (threadIdx.x / WARP == warps - 1) {
      double sum = 0;
      for (i64 s = 2 * lane; s < states; s += 2 * WARP) sum += shares[s];
      sum = warp_sum(sum);
      if (lane == 0) posterior[blank] = sum;
    }
    __syncthreads();
    for (i64 j = threadIdx.x; j < o; j += blockDim.x)
      d[step * o + j] = T(factor * (exp(double(y[step * o + j]) - norms[step].m - norms[step].n) - posterior[j]));
  }
}

// log(e^a + e^b).
__device__ __forceinline__ double log_add(double a, double b) {
  double high = a > b ? a : b, low = a > b ? b : a;
  return low > -infinity() ? high + log1p(exp(low - high)) : high;
}

// The likeliest labels (b, n, t) of rows of outputs (b, t, o), counts and scores (b, n): see kernels/reference.
// A prefix of labels is a node of a tree, whatever way the search has come to it.  trees (b, 5, 1 + t width): of each
// node the one before its label, the label, one of those after it, the next of those that have the same one before
// them, and its place among the prefixes that are kept; 0 is the empty prefix, -1 is none.
template <class T>
__global__ void __launch_bounds__(THREADS)
    ctc_prefix_search(const T* outputs, const i64* lengths, i64 width, i64 blank, i64 t, i64 o, i64 n, i64* trees,
                      unsigned char* scratch, i64 bytes, int* labels, i64* counts, double* scores) {
  __shared__ double highest[WARP];
  __shared__ i64 where[WARP];
  i64 row = blockIdx.x, size = 1 + t * width, count = 1, nodes = 1, steps = lengths[row];
  i64 *before = trees + row * 5 * size, *label = before + size, *after = label + size, *sibling = after + size;
  i64* place = sibling + size;
  int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
  // Scores of prefixes that stay and of those longer by a label; of those kept the logarithms of the chances to end in
  // blank, in the label, and of both; of those that stay the first two after the step; the best scores.
  double *offered = reinterpret_cast<double*>(own_memory(scratch, bytes)), *in_blank = offered + width * (o + 1);
  double *in_label = in_blank + width, *both = in_label + width, *stay_blank = both + width;
  double *stay_label = stay_blank + width, *best = stay_label + width, *logs = best + width;
  i64 *at = reinterpret_cast<i64*>(logs + o), *new_at = at + width, *chosen = new_at + width;
  if (threadIdx.x == 0) {
    before[0] = label[0] = after[0] = sibling[0] = -1;
    place[0] = at[0] = 0;
    in_blank[0] = both[0] = 0;
    in_label[0] = -infinity();
  }
  for (i64 step = 0; step < steps; step++) {
    const T* y = outputs + (row * t + step) * o;
    Chance norm = top_and_norm(y, o);
    for (i64 j = threadIdx.x; j < o; j += blockDim.x) logs[j] = double(y[j]) - norm.m - norm.n;
    __syncthreads();
    for (i64 e = threadIdx.x; e < count; e += blockDim.x) {
      i64 node = at[e];
      stay_blank[e] = both[e] + logs[blank];
      stay_label[e] = -infinity();
      if (node) {
        double chance = logs[label[node]];
        stay_label[e] = in_label[e] + chance;
        i64 shorter = place[before[node]];
        if (shorter >= 0) {
          bool again = label[at[shorter]] == label[node];
          stay_label[e] = log_add(stay_label[e], (again ? in_blank : both)[shorter] + chance);
        }
      }
      offered[e] = log_add(stay_blank[e], stay_label[e]);
    }
    for (i64 e = threadIdx.x; e < count * o; e += blockDim.x) {
      i64 shorter = e / o, j = e % o;
      bool again = label[at[shorter]] == j;
      offered[count + e] = j == blank ? -infinity() : (again ? in_blank : both)[shorter] + logs[j];
    }
    __syncthreads();
    for (i64 e = threadIdx.x; e < count; e += blockDim.x) {
      i64 node = at[e];
      if (node && place[before[node]] >= 0) offered[count + place[before[node]] * o + label[node]] = -infinity();
    }
    __syncthreads();
    i64 kept = 0;
    for (; kept < width; kept++) {
      double top = -infinity();
      i64 index = 0;
      for (i64 e = threadIdx.x; e < count * (o + 1); e += blockDim.x)
        if (offered[e] > top) {
          top = offered[e];
          index = e;
        }
      for (int distance = WARP / 2; distance; distance /= 2) {
        double other = __shfl_xor_sync(ALL, top, distance);
        i64 other_index = __shfl_xor_sync(ALL, index, distance);
        if (other > top || (other == top && other_index < index)) {
          top = other;
          index = other_index;
        }
      }
      if (lane == 0) {
        highest[threadIdx.x / WARP] = top;
        where[threadIdx.x / WARP] = index;
      }
      __syncthreads();
      for (int warp = 0; warp < warps; warp++)
        if (highest[warp] > top || (highest[warp] == top && where[warp] < index)) {
          top = highest[warp];
          index = where[warp];
        }
      if (!(top > -infinity())) break;
      if (threadIdx.x == 0) {
        best[kept] = top;
        chosen[kept] = index;
        offered[index] = -infinity();
      }
      __syncthreads();
    }
    __syncthreads();
    for (i64 e = threadIdx.x; e < count; e += blockDim.x) place[at[e]] = -1;
    for (i64 e = threadIdx.x; e < kept; e += blockDim.x) {
      bool stays = chosen[e] < count;
      in_blank[e] = stays ? stay_blank[chosen[e]] : -infinity();
      in_label[e] = stays ? stay_label[chosen[e]] : best[e];
      both[e] = best[e];
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      for (i64 e = 0; e < kept; e++) {
        i64 node = at[chosen[e] < count ? chosen[e] : (chosen[e] - count) / o];
        if (chosen[e] >= count) {
          i64 shorter = node, j = (chosen[e] - count) % o;
          for (node = after[shorter]; node >= 0 && label[node] != j;) node = sibling[node];
          if (node < 0) {
            node = nodes++;
            before[node] = shorter;
            label[node] = j;
            after[node] = -1;
            sibling[node] = after[shorter];
            after[shorter] = node;
          }
        }
        place[node] = e;
        new_at[e] = node;
      }
    }
    __syncthreads();
    i64* old = at;
    at = new_at;
    new_at = old;
    count = kept;
  }
  __syncthreads();
  for (i64 e = threadIdx.x; e < n; e += blockDim.x) {
    i64 node = e < count ? at[e] : 0, length = 0;
    for (i64 end = node; end; end = before[end]) length++;
    counts[row * n + e] = length;
    scores[row * n + e] = e < count ? both[e] : -infinity();
    int* out = labels + (row * n + e) * t;
    for (i64 j = t - 1; j >= 0; j--) {
      out[j] = j < length ? int(label[node]) : -1;
      if (j < length) node = before[node];
    }
  }
}
