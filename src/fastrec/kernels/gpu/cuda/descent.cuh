#pragma once
#include "fields.cuh"
#include "philox.cuh"

// The dynamics of one row by one block, with the local fields of all its units at hand: a test costs nothing, a
// flip one coupling a unit.  Thread t owns the units t, t + blockDim.x, ...: what it keeps of them no other touches.

// W_ij over the first p patterns of units (n, u); self: of a unit with itself.
struct PatternCoupling {
  const u64* units;
  i64 u, p, self;
  __device__ int operator()(i64 i, i64 j) const {
    if (i == j) return int(self);
    const u64 *a = units + i * u, *b = units + j * u;
    int differing = 0;
    for (i64 word = 0; word < p / 64; word++) differing += __popcll(a[word] ^ b[word]);
    if (p % 64) differing += __popcll((a[p / 64] ^ b[p / 64]) & mask_below(p, p / 64));
    return int(p) - 2 * differing;
  }
};

// W_ij from columns (n, n), the transpose of the couplings: threads with consecutive i read along a row of it.
template <class W> struct WeightCoupling {
  const W* columns;
  i64 n;
  __device__ i64 operator()(i64 i, i64 j) const { return columns[j * n + i]; }
};

// What a block keeps of its row: in shared memory where that is large enough.
template <class F> struct Row {
  u64* keys;       // (n) place of a unit in the order of the sweep: smaller is earlier, equal by number
  F* fields;       // (n)
  signed char *s;  // (n) states; 0 of a unit that is held, which so never wants to flip
  signed char *before;  // (n) states a step earlier
};

// A unit that wants to flip: its key, and twice its number, plus one if it turns to +1.
struct Turn {
  u64 key;
  u32 unit;
  __device__ bool earlier(const Turn& other) const {
    return key < other.key || (key == other.key && unit < other.unit);
  }
};

inline constexpr Turn NO_TURN = {~0ull, ~0u};

// The earliest turn of the block, in every thread.  partial: 32 of shared memory that no thread still reads; with
// two of them used in turn, the barrier inside is enough.
__device__ __forceinline__ Turn first_turn(Turn own, Turn* partial) {
  for (int distance = WARP / 2; distance; distance /= 2) {
    Turn other = {__shfl_xor_sync(ALL, own.key, distance), __shfl_xor_sync(ALL, own.unit, distance)};
    if (other.earlier(own)) own = other;
  }
  if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = own;
  __syncthreads();
  Turn first = partial[0];
  for (int warp = 1; warp < blockDim.x / WARP; warp++)
    if (partial[warp].earlier(first)) first = partial[warp];
  return first;
}

// Keys of a random order: its draws.
__device__ __forceinline__ void draw_keys(u64 key, i64 sweep, i64 network, i64 step, i64 n, u64* keys) {
  for (i64 block = threadIdx.x; 2 * block < n; block += blockDim.x) {
    Draws draws = philox4x32(key, u32(block), u32(sweep), u32(network), tag(ORDER, step));
    for (int j = 0; j < 2 && 2 * block + j < n; j++) keys[2 * block + j] = draws[j];
  }
}

// Whether a unit flips in its update: if its field is against it.
struct ByField {
  template <class F> __device__ bool operator()(F field, int s, i64) const { return field * s < 0; }
};

struct Nothing {
  template <class... Arguments> __device__ int operator()(const Arguments&...) const { return 0; }
};

// One asynchronous sweep in the order of row.keys; the flips.  Between two flips no field changes, so the next unit
// to flip is the first in the order, after the last one, among those that want to now.  turns (2, 32) is shared.
// note(flips, unit) is told each unit that flips, and how many have before it; wants(field, s, unit) is `ByField`, or
// another rule that depends on nothing that flips but by the field.
template <class F, class Coupling, class Note = Nothing, class Wants = ByField>
__device__ i64 sweep_row(const Coupling& coupling, i64 n, const Row<F>& row, Turn (*turns)[WARP], Note note = {},
                         Wants wants = {}) {
  __syncthreads();
  Turn next = NO_TURN;
  for (i64 i = threadIdx.x; i < n; i += blockDim.x)
    if (wants(row.fields[i], row.s[i], i)) {
      Turn turn = {row.keys[i], u32(2 * i + (row.s[i] < 0))};
      if (turn.earlier(next)) next = turn;
    }
  for (i64 flips = 0;; flips++) {
    Turn turn = first_turn(next, turns[flips % 2]);
    if (turn.unit == NO_TURN.unit) return flips;
    i64 j = turn.unit >> 1;
    int s = turn.unit & 1 ? 1 : -1;
    note(flips, j);
    turn.unit |= 1;  // not earlier than the same unit, which may want to turn back
    next = NO_TURN;
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
      F field = row.fields[i] + 2 * s * F(coupling(i, j));
      row.fields[i] = field;
      if (i == j) row.s[i] = static_cast<signed char>(s);
      if (wants(field, row.s[i], i)) {
        Turn other = {row.keys[i], u32(2 * i + (row.s[i] < 0))};
        if (turn.earlier(other) && other.earlier(next)) next = other;
      }
    }
  }
}

// Puts the states of a row into state (w); those of units with a bit in held (w), if given, are in start (w).
template <class F>
__device__ void store_row(const Row<F>& row, u64* state, i64 n, const u64* held = nullptr,
                          const u64* start = nullptr) {
  __syncthreads();
  int lane = threadIdx.x % WARP;
  for (i64 word = threadIdx.x / WARP; 64 * word < n; word += blockDim.x / WARP) {
    i64 i = 64 * word + lane;
    u64 low = __ballot_sync(ALL, i < n && row.s[i] > 0);
    u64 high = __ballot_sync(ALL, i + WARP < n && row.s[i + WARP] > 0);
    if (lane == 0) state[word] = low | high << 32 | (held ? held[word] & start[word] : 0);
  }
}

// The fields of a row from its states, which are also put into state (w), and the patterns, packed (p, w) and as units:
// n p / 64 popcounts of words for overlaps, and 8 NT n p products of bits.  planes (8 NT, ceil(p / 64)) is global.
template <int NT, class F>
__device__ void renew_fields(const PatternCoupling& coupling, const u64* packed, i64 n, const Row<F>& row, u64* state,
                             u64* planes) {
  __shared__ i64 partial[WARP];
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
  int p = int(coupling.p), w = int(n + 63) / 64, u = (p + 63) / 64;
  i64 total = 0;
  store_row(row, state, n);
  __syncthreads();
  for (int half_word = warp; half_word < 2 * u; half_word += warps) {
    const u64* pattern = packed + i64(WARP * half_word) * w;
    int own = 0;
    for (int i = 0; i < min(WARP, p - WARP * half_word); i++, pattern += w) {
      int differing = 0;
#pragma unroll 2
      for (int word = lane; word < w; word += WARP) differing += __popcll(pattern[word] ^ state[word]);
      differing = warp_sum(differing);
      if (lane == i) own = int(n) - 2 * differing;
    }
    write_planes<NT>(own, half_word, u, reinterpret_cast<u32*>(planes));
    total += own;
  }
  total = block_sum(total, partial);
  for (int first = 16 * warp; first < n; first += 16 * warps) {
    i64 sum[2];
    auto unit = [=](int i) { return first + i < n ? coupling.units + (first + i) * coupling.u : nullptr; };
    plane_sums<NT, 2>(unit, planes, u, 0, u, sum);
    int i = first + lane / 4;
    for (int half = 0; half < 2 && lane % 4 == 0; half++, i += 8)
      if (i < n) row.fields[i] = F(2 * sum[half] - total - (p - coupling.self) * row.s[i]);
  }
  __syncthreads();
}

// Turns from which a synchronous step had better make all fields anew.  A turn takes 60 instructions for each unit of a
// thread and 11 for a word of its patterns; anew takes as many as 4 turns for 16384 units and 12 for 1000.
inline constexpr int RENEWED = 8;

// One synchronous step; the flips, and in back whether it led to the states before the last step.  The turns go into
// the space of row.keys, their number into *count, shared.  If they are more than `most` the fields stay as they were.  wants:
// as of sweep_row.
template <class F, class Coupling, class Wants = ByField>
__device__ i64 step_row(const Coupling& coupling, i64 n, const Row<F>& row, int most, int* count, bool& back,
                        Wants wants = {}) {
  u32* turned = reinterpret_cast<u32*>(row.keys);
  __syncthreads();
  if (threadIdx.x == 0) *count = 0;
  __syncthreads();
  bool same = true;
  for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
    signed char s = row.s[i];
    if (wants(row.fields[i], s, i)) {
      s = -s;
      turned[atomicAdd(count, 1)] = u32(2 * i + (s > 0));
    }
    same &= s == row.before[i];
    row.before[i] = row.s[i];
    row.s[i] = s;
  }
  back = __syncthreads_and(same);
  int flips = *count;
  if (flips > most) return flips;
  for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
    F change = 0;
    for (int turn = 0; turn < flips; turn++) {
      F w = F(coupling(i, turned[turn] >> 1));
      change += turned[turn] & 1 ? w : -w;
    }
    row.fields[i] += 2 * change;
  }
  return flips;
}

// Where the arrays of a row lie in memory of n (10 + sizeof(F)) bytes.
template <class F> __device__ __forceinline__ Row<F> row_in(unsigned char* memory, i64 n) {
  u64* keys = reinterpret_cast<u64*>(memory);
  F* fields = reinterpret_cast<F*>(keys + n);
  signed char* s = reinterpret_cast<signed char*>(fields + n);
  return {keys, fields, s, s + n};
}
