#pragma once
#include "descent.cuh"

inline constexpr i64 NEVER = ~0ull >> 1;

// What the row of a block has besides if its couplings are in memory; pointers to what it has not are null.
template <class F> struct Given {
  const F* thresholds;  // (n), which are taken from the fields
  const u64* held;      // (w) bits of units that keep their states
  u64* trail;           // (max_sweeps + 1, w) gets the states after each sweep
  int* turns;           // (room, 2) gets sweep and unit of the first flips
  i64 room;
  static constexpr i64 unaveraged = NEVER;
  static constexpr int* totals = nullptr;
  static constexpr i64* form_total = nullptr;
};

// If they are made from patterns, nothing: known when compiled, so that it costs nothing.
struct NothingGiven {
  static constexpr const int* thresholds = nullptr;
  static constexpr const u64* held = nullptr;
  static constexpr u64* trail = nullptr;
  static constexpr int* turns = nullptr;
  static constexpr i64 room = 0, unaveraged = NEVER;
  static constexpr int* totals = nullptr;
  static constexpr i64* form_total = nullptr;
};

// Either, and what is summed after each sweep but the first `unaveraged` ones.
template <class More> struct Averaged : More {
  i64 unaveraged;
  int* totals;  // (n) of states
  i64* form_total;
};

// state (w): the states at first.
template <class F>
__device__ void load_row(const Row<F>& row, const F* fields, const u64* state, i64 n, const u64* held) {
  for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
    row.fields[i] = fields[i];
    row.s[i] = row.before[i] = static_cast<signed char>(held && bit(held, i) ? 0 : sign(state, i));
  }
}

// The state of a unit, which is in start (w) if it is held.
template <class F, class More>
__device__ __forceinline__ int state_of(const Row<F>& row, const More& given, const u64* start, i64 i) {
  return given.held && bit(given.held, i) ? sign(start, i) : row.s[i];
}

// s'W s, less twice thresholds's, in every thread.
template <class F, class More>
__device__ i64 form_of(const Row<F>& row, i64 n, const More& given, const u64* start, i64* partial) {
  i64 sum = 0;
  __syncthreads();
  for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
    i64 field = row.fields[i];
    if (given.thresholds) field -= given.thresholds[i];
    sum += field * state_of(row, given, start, i);
  }
  return block_sum(sum, partial);
}

// Notes that a unit flips in a sweep, after so many flips.
template <class More> __device__ __forceinline__ void note_turn(const More& given, i64 flips, i64 sweep, i64 unit) {
  if (flips >= given.room || threadIdx.x) return;
  given.turns[2 * flips] = int(sweep);
  given.turns[2 * flips + 1] = int(unit);
}

// What a recall took.
struct Taken {
  i64 sweeps, flips;
};

// The row of this block, to its stop or for max_sweeps sweeps; step(row, sweep, flips) does one of them, and tells
// whether another may follow.  memory: the block's, for the row.
template <class F, class More, class Step>
__device__ Taken recall_row(i64 n, i64 max_sweeps, const F* fields, unsigned char* memory, u64* states, i64* forms,
                            i64 recorded, const More& given, Step step) {
  __shared__ i64 partial[WARP];
  i64 number = blockIdx.x, w = (n + 63) / 64, total = 0, sweep = 0;
  u64* state = states + number * w;
  Row<F> row = row_in<F>(memory, n);
  load_row(row, fields + number * n, state, n, given.held);
  for (bool more = true;; sweep++) {
    bool averaged = sweep > given.unaveraged;
    if (recorded || averaged) {
      i64 form = form_of(row, n, given, state, partial);
      if (recorded && threadIdx.x == 0) forms[number * recorded + sweep] = form;
      if (averaged && threadIdx.x == 0) *given.form_total += form;
    }
    if (averaged && given.totals)
      for (i64 i = threadIdx.x; i < n; i += blockDim.x) given.totals[i] += state_of(row, given, state, i);
    if (given.trail) store_row(row, given.trail + sweep * w, n, given.held, state);
    if (sweep == max_sweeps || !more) break;
    i64 flipped;
    more = step(row, sweep, flipped);
    total += flipped;
  }
  store_row(row, state, n, given.held, state);
  return {sweep, total};
}

// The row of this block: thresholds (k, n), clamped (k b, held), trail (k b, trailed, w), turns (k b, room, 2), where
// 0 stands for none.
template <class F>
__device__ Given<F> given_of(const F* thresholds, const u64* clamped, i64 held, i64 b, i64 n, u64* trail, i64 trailed,
                             int* turns, i64 room) {
  i64 number = blockIdx.x, w = (n + 63) / 64;
  return {thresholds + number / b * n, held ? clamped + number * w : nullptr,
          trailed ? trail + number * trailed * w : nullptr, turns + 2 * number * room, room};
}
