#pragma once
#include "cluster.cuh"
#include "copy.cuh"
#include "mail.cuh"
#include "products.cuh"

// All steps of a recurrence in one launch.  A team of `members` blocks takes up to ROWS rows of one network; each
// member owns a run of hidden units and keeps the recurrent weights of these in registers and shared memory where they
// fit.  A step is a product of what the whole team made in the step before with the member's own weights, then the
// cell's function of each own unit and row, then the exchange: within a block or a cluster through shared memory, in
// other teams by mail, through pieces of global memory that tell themselves whether they are there.

enum Activation { TANH = 0, RELU = 1, LOGISTIC = 2, SOFTPLUS = 3 };

inline constexpr int CLUSTER = 8;  // blocks, the most that every card with clusters has

__device__ __forceinline__ float hyperbolic(float z) { return tanhf(z); }
__device__ __forceinline__ double hyperbolic(double z) { return tanh(z); }
__device__ __forceinline__ float exponential(float z) { return expf(z); }
__device__ __forceinline__ double exponential(double z) { return exp(z); }
__device__ __forceinline__ float less_one(float z) { return expm1f(z); }
__device__ __forceinline__ double less_one(double z) { return expm1(z); }

// 1 / (1 + exp(-z)) without overflow.
template <class T> __device__ __forceinline__ T logistic(T z) {
  T e = exponential(z < 0 ? z : -z);
  return (z < 0 ? e : T(1)) / (1 + e);
}

// log(1 + exp(z)) without overflow.
__device__ __forceinline__ float softplus(float z) { return (z <= 0 ? 0 : z) + log1pf(expf(-fabsf(z))); }
__device__ __forceinline__ double softplus(double z) { return (z <= 0 ? 0 : z) + log1p(exp(-fabs(z))); }

template <class T> __device__ __forceinline__ T activate(T z, i64 activation) {
  return activation == TANH       ? hyperbolic(z)
         : activation == RELU     ? (z <= 0 ? T(0) : z)
         : activation == LOGISTIC ? logistic(z)
                                  : softplus(z);
}

// f'(z) from h = f(z); 0 for relu at 0.
template <class T> __device__ __forceinline__ T slope(T h, i64 activation) {
  return activation == TANH       ? 1 - h * h
         : activation == RELU     ? T(h > 0)
         : activation == LOGISTIC ? h * (1 - h)
                                  : -less_one(-h);
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

// What the members of a team hand on in a step: `run` operands of each row and member, from `made` (ROWS, made_pitch)
// to `in` (ROWS, pitch) of every member.  For one block these are the same; in a cluster they are stored into the next
// `in` of every member, whose `arrivals` count them, and else go by mail, from where `in` gets those of some members at
// a time.
//
// The next `in` is free for the members' stores: each of them hands a step on when it has heard of the one before from
// all, and that went out when their threads had met after reading what is overwritten now.
template <class P, int ROWS, bool CLUSTERED> struct Team {
  using Operand = typename P::Operand;
  Operand *in, *next, *made;
  int pitch, run, made_pitch, members, at_once, rank, rows;
  u32 number = 0;  // of the last message
  u64* arrivals;   // (2)
  Mail<CELL_THREADS, ROWS> mail;

  // In shared memory, of which `free` is then the rest.  All is 0, and `made` stays so for units that are not there.
  __device__ Team(unsigned char*& free, const Shape& shape, int run, int members, int rows, uint4* pieces)
      : pitch(shape.pitch), run(run), members(members), at_once(shape.inputs / run), rank(int(blockIdx.x) % members),
        rows(rows),
        mail(pieces + i64(blockIdx.x) / members * mail.size(row_words(run), members), row_words(run), members) {
    arrivals = reinterpret_cast<u64*>(free);
    if (CLUSTERED) free += 2 * sizeof(u64);
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
    if (CLUSTERED) {
      if (threadIdx.x < 2) init_arrivals(arrivals + threadIdx.x);
      cluster_barrier();
    } else
      __syncthreads();
  }

  // Words of what a member hands on of a row.
  __device__ static int row_words(int run) { return run * int(sizeof(Operand)) / 4; }

  // By all threads, when they have done their work on `made`.
  __device__ __forceinline__ void hand_on() {
    number++;
    __syncthreads();
    if (CLUSTERED) {
      constexpr int IN_PIECE = 16 / sizeof(Operand);
      u64* counted = arrivals + number % 2;
      if (threadIdx.x == 0) expect_bytes(counted, u32(members * rows * run * int(sizeof(Operand))));
      each_element(rows, run / IN_PIECE, [&](int r, int piece) {
        uint4 value = reinterpret_cast<const uint4*>(made + r * run)[piece];
        uint4* place = reinterpret_cast<uint4*>(next + r * pitch + rank * run) + piece;
#pragma unroll
        for (int member = 0; member < CLUSTER; member++) store_to(member, place, value, counted);
      });
    } else if (members > 1)
      mail.send(number, rank, rows, reinterpret_cast<const u32*>(made), row_words(run));
  }

  // The product of all that the team handed on last, seen after a barrier.
  template <int HELD>
  __device__ __forceinline__ void multiply(const Weights<P, ROWS, HELD>& weights, typename P::Real* partial) {
    if constexpr (CLUSTERED) {
      Operand* old = in;
      in = next;
      next = old;
      wait_for_bytes(arrivals + number % 2, (number - 1) / 2 % 2);
      weights.multiply(in, partial, 0);
    } else
      for (int first = 0, time = 0; first < members; first += at_once, time++) {
        if (members > 1) {
          if (first) __syncthreads();
          mail.receive(number, first, at_once, rows, reinterpret_cast<u32*>(in), row_words(pitch));
          __syncthreads();
        }
        weights.multiply(in, partial, time);
      }
  }

  // By all threads, at the end: no member leaves while another might still store to it.
  __device__ __forceinline__ void part() {
    if (CLUSTERED) cluster_barrier();
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
