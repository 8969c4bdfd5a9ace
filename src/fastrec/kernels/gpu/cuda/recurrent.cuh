#pragma once
#include "cluster.cuh"
#include "copy.cuh"
#include "flags.cuh"
#include "products.cuh"

// All steps of a recurrence in one launch.  A team of `members` blocks takes up to ROWS rows of one network; each
// member owns a run of hidden units and keeps the recurrent weights of these in registers and shared memory where they
// fit.  A step is a product of what the whole team made in the step before with the member's own weights, then the
// cell's function of each own unit and row, then the exchange: within a block or a cluster through shared memory, in
// other teams through words of global memory that tell themselves whether they are there.

enum Activation { TANH = 0, RELU = 1, LOGISTIC = 2 };

inline constexpr int CLUSTER = 8;  // blocks, the most that every card with clusters has

__device__ __forceinline__ float hyperbolic(float z) { return tanhf(z); }
__device__ __forceinline__ double hyperbolic(double z) { return tanh(z); }
__device__ __forceinline__ float exponential(float z) { return expf(z); }
__device__ __forceinline__ double exponential(double z) { return exp(z); }

// 1 / (1 + exp(-z)) without overflow.
template <class T> __device__ __forceinline__ T logistic(T z) {
  T e = exponential(z < 0 ? z : -z);
  return (z < 0 ? e : T(1)) / (1 + e);
}

template <class T> __device__ __forceinline__ T activate(T z, i64 activation) {
  return activation == TANH ? hyperbolic(z) : activation == RELU ? (z <= 0 ? T(0) : z) : logistic(z);
}

// f'(z) from h = f(z); 0 for relu at 0.
template <class T> __device__ __forceinline__ T slope(T h, i64 activation) {
  return activation == TANH ? 1 - h * h : activation == RELU ? T(h > 0) : h * (1 - h);
}

// What a block knows of its place.
struct Member {
  i64 network, row;        // of its team, and the first row of that among those of all networks
  int rows, units, first;  // rows of the team, own units from `first`
  int steps;               // of the longest row

  // b rows in teams of up to ROWS, of which this launch begins with one; h units in runs of `share`; lengths (b).
  // length: (ROWS) of shared memory.
  __device__ Member(i64 b, int h, int members, int first_team, int ROWS, const i64* lengths, int* length) {
    int team = first_team + int(blockIdx.x) / members, teams = int((b + ROWS - 1) / ROWS),
        share = (h + members - 1) / members;
    i64 first_row = i64(team % teams) * ROWS;
    network = team / teams;
    row = network * b + first_row;
    rows = int(min(i64(ROWS), b - first_row));
    first = min(h, int(blockIdx.x) % members * share);
    units = min(share, h - first);
    if (threadIdx.x < ROWS) length[threadIdx.x] = threadIdx.x < rows ? int(lengths[first_row + threadIdx.x]) : 0;
    __syncthreads();
    steps = 0;
    for (int r = 0; r < rows; r++) steps = max(steps, length[r]);
  }
};

// The barrier of the block, or of its cluster.
template <bool CLUSTERED> __device__ __forceinline__ void meet() {
  if (CLUSTERED)
    cluster_barrier();
  else
    __syncthreads();
}

// What the members of a team hand on in a step: `run` operands of each row and member, from `made` (ROWS, made_pitch)
// to `in` (ROWS, pitch) of every member.  For one block these are the same; in a cluster they go to the next `in`, and
// else through `posted`, from where `in` gets those of some members at a time.
template <class P, int ROWS, bool CLUSTERED> struct Team {
  using Operand = typename P::Operand;
  Operand *in, *next, *made;
  int pitch, run, made_pitch, members, at_once, rank, rows;
  u32 number = 0;  // of the last message
  u64* posted;     // (2, ROWS, words) of this team

  // In shared memory, of which `free` is then the rest.  All is 0, and `made` stays so for units that are not there.
  __device__ Team(unsigned char*& free, Shape shape, int run, int members, int rows, u64* words)
      : pitch(P::pitch(shape)), run(run), members(members), at_once(shape.inputs / run), rows(rows) {
    auto take = [&](int count) {
      Operand* place = reinterpret_cast<Operand*>(free);
      free += count * sizeof(Operand);
      for (int i = threadIdx.x; i < count; i += CELL_THREADS) place[i] = 0;
      return place;
    };
    in = take(ROWS * pitch);
    next = CLUSTERED ? take(ROWS * pitch) : in;
    made = members > 1 ? take(ROWS * run) : in;
    made_pitch = members > 1 ? run : pitch;
    rank = int(blockIdx.x) % members;
    posted = words + i64(blockIdx.x) / members * 2 * ROWS * members * row_words();
    meet<CLUSTERED>();
  }

  // Of what a member hands on of a row.
  __device__ int row_words() const { return run * int(sizeof(Operand)) / 4; }

  // By all threads, when they have done their work on `made`.
  __device__ __forceinline__ void hand_on() {
    number++;
    __syncthreads();
    if (CLUSTERED) {
      int pieces = run * int(sizeof(Operand)) / 16, all = rows * pieces;
      const uint4* from = reinterpret_cast<const uint4*>(made);
      for (int i = threadIdx.x; i < members * all; i += CELL_THREADS) {
        int piece = i % all, r = piece / pieces;
        uint4* to = reinterpret_cast<uint4*>(next + r * pitch + rank * run) + piece % pieces;
        *map_shared(to, i / all) = from[piece];
      }
      cluster_barrier();
      Operand* old = in;
      in = next;
      next = old;
    } else if (members > 1) {
      int own = row_words();
      u64* words = posted + number % 2 * ROWS * members * own;
      const u32* from = reinterpret_cast<const u32*>(made);
      for (int i = threadIdx.x; i < rows * own; i += CELL_THREADS)
        post(words + (i / own * members + rank) * own + i % own, from[i], number);
    }
  }

  // The product of all that the team handed on last, seen after a barrier.
  template <int HELD>
  __device__ __forceinline__ void multiply(const Weights<P, ROWS, HELD>& weights, typename P::Real* partial) {
    int own = row_words(), some = at_once * own;
    const u64* words = posted + number % 2 * ROWS * members * own;
    for (int first = 0; first < members; first += at_once) {
      if (!CLUSTERED && members > 1) {
        if (first) __syncthreads();
        receive<CELL_THREADS>(
            rows * some, number, [&](int i) { return words + (i / some * members + first) * own + i % some; },
            [&](int i, u32 word) { reinterpret_cast<u32*>(in + i / some * pitch)[i % some] = word; });
        __syncthreads();
      }
      weights.multiply(in, partial, first / at_once);
    }
  }
};

// Calls out(place, j) for the own units j of each step after the team's last, place numbering the steps of all rows.
template <class Out> __device__ __forceinline__ void each_padded(const Member& own, i64 t, Out out) {
  i64 padded = t - own.steps, all = own.rows * padded * own.units;
  for (i64 i = threadIdx.x; i < all; i += CELL_THREADS) {
    i64 row = i / own.units / padded, step = own.steps + i / own.units % padded;
    out((own.row + row) * t + step, int(i % own.units));
  }
}
