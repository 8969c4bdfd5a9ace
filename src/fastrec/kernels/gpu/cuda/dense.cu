// Recall of dense memories, a block a row: what F gains by a flip, summed over patterns with their distances at hand.
//
// A flip changes all p distances; an update reads as many sums and bits.  Relative to the nearest pattern few patterns
// count at all: those are listed, and looked for again after some flips.
#include "common.cuh"

inline constexpr int SLACK = 8;  // flips for which a list of patterns holds

// The patterns of a network, and F by their distance: see reference/dense.py.
struct Memory {
  const u64 *packed, *units;  // (p, w) and (n, u), or u = 0
  i64 p, w, u;
  const i64* table;  // (entries)
  i64 entries, relative;

  __device__ u64 value(i64 at) const { return at >= 0 && at < entries ? table[at] : 0; }
  __device__ bool differs(i64 pattern, i64 unit, int bit_of_state) const {
    return (u ? bit(units + unit * u, pattern) : bit(packed + pattern * w, unit)) != bit_of_state;
  }
};

// The patterns that count, of which thread t changes those in the places t, t + blockDim.x, ...  Sums wrap around, as
// those of their parts do not.
struct List {
  u64* more;  // (p) what F gains if the pattern comes nearer, less what it gains if it goes farther
  int* d;     // (p) distances
  int* which;  // (p)
  bool all;    // of the patterns in their order, and `which` holds nothing
  i64 count;
  u64 base;  // what F gains if all go farther

  __device__ i64 pattern(i64 place) const { return all ? place : which[place]; }
};

// Memory of 16 p bytes.
__device__ __forceinline__ List list_in(unsigned char* memory, const Memory& m) {
  u64* more = reinterpret_cast<u64*>(memory);
  int* d = reinterpret_cast<int*>(more + m.p);
  return {more, d, d + m.p, m.relative == 0, 0, 0};
}

// The least value of the block, in every thread; partial as of block_sum.
__device__ __forceinline__ int block_min(int value, int* partial) {
  for (int distance = WARP / 2; distance; distance /= 2) value = min(value, __shfl_xor_sync(ALL, value, distance));
  if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = value;
  __syncthreads();
  for (int warp = 0; warp < blockDim.x / WARP; warp++) value = min(value, partial[warp]);
  return value;
}

// Lists the patterns that count near state (w), until it has changed in so many units.
__device__ void find_patterns(const Memory& m, const u64* state, i64 flips, List& list, int* partial, int* count) {
  int *all = list.all ? list.d : reinterpret_cast<int*>(list.more), nearest = 0x7fffffff;
  __syncthreads();
  for (i64 mu = threadIdx.x; mu < m.p; mu += blockDim.x) {
    int differing = 0;
    for (i64 word = 0; word < m.w; word++) differing += __popcll(m.packed[mu * m.w + word] ^ state[word]);
    all[mu] = differing;
    nearest = min(nearest, differing);
  }
  list.count = m.p;
  if (list.all) return;
  if (threadIdx.x == 0) *count = 0;
  // A flip brings a pattern nearer by one unit and the nearest one farther away.
  i64 last = block_min(nearest, partial) + m.entries - 1 + 2 * flips;
  for (i64 mu = threadIdx.x; mu < m.p; mu += blockDim.x)
    if (all[mu] <= last) {
      int place = atomicAdd(count, 1);
      list.which[place] = int(mu);
      list.d[place] = all[mu];
    }
  __syncthreads();
  list.count = *count;
}

// What the patterns of a list gain, by their distances.
__device__ void weigh(const Memory& m, List& list, int* least, u64* partial) {
  i64 first = 0;
  if (m.relative) {
    int nearest = 0x7fffffff;
    for (i64 place = threadIdx.x; place < list.count; place += blockDim.x) nearest = min(nearest, list.d[place]);
    first = block_min(nearest, least) - 1;
  }
  u64 sum = 0;
  for (i64 place = threadIdx.x; place < list.count; place += blockDim.x) {
    i64 at = list.d[place] - first;
    list.more[place] = m.value(at - 1) - m.value(at + 1);
    sum += m.value(at + 1) - m.value(at);
  }
  list.base = block_sum(sum, partial);
}

// Sweeps first..first + count - 1 of rows of states (k b, w) that have not stopped, a block each: the twins of
// reference/dense.py.  packed (k, p, w), units (k, n, u), trail (k b, trailed, w).

// orders (r, n): the first sweep of the launch is in the order number `base`.
__global__ void __launch_bounds__(512)
    dense_async(const int* orders, i64 r, i64 base, const u64* packed, const u64* units, i64 p, i64 u,
                const i64* table, i64 entries, i64 relative, i64 b, i64 n, i64 first, i64 count,
                unsigned char* scratch, i64 bytes, u64* states, bool* converged, int* sweeps, i64* flips, u64* trail,
                i64 trailed) {
  __shared__ u64 partial[3][WARP];
  __shared__ int least[2][WARP];
  __shared__ int found;
  i64 number = blockIdx.x, network = number / b, w = (n + 63) / 64;
  u64 *state = states + number * w, *course = trail + number * trailed * w;
  if (converged[number]) return;
  Memory m = {packed + network * p * w, units + network * n * u, p, w, u, table, entries, relative};
  List list = list_in(own_memory(scratch, bytes), m);
  find_patterns(m, state, SLACK, list, least[0], &found);
  weigh(m, list, least[1], partial[2]);
  if (trailed && first == 0)
    for (i64 word = threadIdx.x; word < w; word += blockDim.x) course[word] = state[word];
  i64 sweep = 0, total = 0, flipped = 1;
  int since = 0, turn = 0;
  for (; sweep < count && flipped; sweep++) {
    const int* order = orders + (base + sweep) % r * n;
    flipped = 0;
    for (i64 update = 0; update < n; update++, turn ^= 1) {
      i64 unit = order[update];
      int s = bit(state, unit);
      u64 gain = 0;
      for (i64 place = threadIdx.x; place < list.count; place += blockDim.x)
        if (m.differs(list.pattern(place), unit, s)) gain += list.more[place];
      if (i64(list.base + block_sum(gain, partial[turn])) <= 0) continue;
      flipped++;
      if (threadIdx.x == 0) state[unit >> 6] ^= 1ull << (unit & 63);
      if (m.relative && ++since == SLACK) {
        find_patterns(m, state, SLACK, list, least[0], &found);
        since = 0;
      } else {
        for (i64 place = threadIdx.x; place < list.count; place += blockDim.x)
          list.d[place] += m.differs(list.pattern(place), unit, s) ? -1 : 1;
      }
      weigh(m, list, least[1], partial[2]);
    }
    total += flipped;
    if (trailed)
      for (i64 word = threadIdx.x; word < w; word += blockDim.x)
        course[(first + sweep + 1) * w + word] = state[word];
  }
  if (threadIdx.x == 0) {
    converged[number] = flipped == 0;
    sweeps[number] = int(first + sweep);
    flips[number] += total;
  }
}

// earlier (k b, 2, w): the states a step earlier, and those after 1, 2, 4, ... steps, for Brent's search.
__global__ void __launch_bounds__(512)
    dense_sync(const u64* packed, i64 p, const i64* table, i64 entries, i64 relative, i64 b, i64 n, i64 first,
               i64 count, unsigned char* scratch, i64 bytes, u64* earlier, u64* states, int* period, int* sweeps,
               i64* flips, u64* trail, i64 trailed) {
  __shared__ u64 partial[WARP];
  __shared__ int least[2][WARP], turned[WARP];
  __shared__ int found;
  i64 number = blockIdx.x, network = number / b, w = (n + 63) / 64;
  u64 *state = states + number * w, *course = trail + number * trailed * w;
  u64 *before = earlier + 2 * number * w, *kept = before + w;
  if (period[number]) return;
  Memory m = {packed + network * p * w, nullptr, p, w, 0, table, entries, relative};
  List list = list_in(own_memory(scratch, bytes), m);
  if (trailed && first == 0)
    for (i64 word = threadIdx.x; word < w; word += blockDim.x) course[word] = state[word];
  int lane = threadIdx.x % WARP, stop = 0;
  i64 step = first, total = 0, kept_at = 0;
  for (i64 power = 1; power <= first; power *= 2) kept_at = power;
  while (step < first + count && stop == 0) {
    find_patterns(m, state, 0, list, least[0], &found);
    weigh(m, list, least[1], partial);
    step++;
    bool keep = (step & (step - 1)) == 0, as_before = step > 1, as_kept = kept_at > 0;
    int own = 0;
    for (i64 word = threadIdx.x / WARP; word < w; word += blockDim.x / WARP) {
      u64 old = state[word], low = list.base, high = list.base;
      for (i64 place = 0; place < list.count; place++) {
        u64 differing = m.packed[list.pattern(place) * w + word] ^ old, more = list.more[place];
        if (differing >> lane & 1) low += more;
        if (differing >> (lane + WARP) & 1) high += more;
      }
      i64 unit = 64 * word + lane;
      u64 turns = __ballot_sync(ALL, unit < n && i64(low) > 0);
      turns |= u64(__ballot_sync(ALL, unit + WARP < n && i64(high) > 0)) << WARP;
      __syncwarp();  // all lanes have read the word
      if (lane) continue;
      u64 now = old ^ turns;
      own += __popcll(turns);
      as_before = as_before && now == before[word];
      as_kept = as_kept && now == kept[word];
      before[word] = old;
      if (keep) kept[word] = now;
      if (trailed) course[step * w + word] = now;
      state[word] = now;
    }
    int flipped = block_sum(own, turned);
    total += flipped;
    bool two = __syncthreads_and(as_before), cycle = __syncthreads_and(as_kept);
    stop = flipped == 0 ? 1 : two ? 2 : cycle ? int(step - kept_at) : 0;
    if (keep) kept_at = step;
  }
  if (threadIdx.x == 0) {
    period[number] = stop;
    sweeps[number] = int(step);
    flips[number] += total;
  }
}
