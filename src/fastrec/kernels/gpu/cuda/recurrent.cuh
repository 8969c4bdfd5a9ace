#pragma once
#include "barrier.cuh"
#include "cluster.cuh"
#include "copy.cuh"

// All steps of a recurrence in one launch.  A team of `members` blocks takes up to ROWS rows of one network; each
// member owns a run of hidden units and keeps the recurrent weights of these in shared memory where they fit.  A
// step is a product of what the whole team made in the step before with the member's own weights, then the cell's
// function of each own unit and row, then the exchange: within a block or a cluster through shared memory, in other
// teams through the array that the step writes anyway and a barrier of the team.

enum Activation { TANH = 0, RELU = 1, LOGISTIC = 2 };

inline constexpr int CELL_THREADS = 256;
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
    int team = first_team + int(blockIdx.x) / members, teams = int((b + ROWS - 1) / ROWS), share = (h + members - 1) / members;
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

// Values of T in so many whole pieces of 16 bytes as hold `count` of them.
template <class T> __device__ __forceinline__ int whole_pieces(int count) {
  constexpr int PIECE = 16 / sizeof(T);
  return (count + PIECE - 1) / PIECE * PIECE;
}

// The barrier of the block, or of its cluster.
template <bool CLUSTERED> __device__ __forceinline__ void meet() {
  if (CLUSTERED)
    cluster_barrier();
  else
    __syncthreads();
}

// Sets *place, in shared memory, in this block or in all members of its cluster.
template <bool CLUSTERED, class T> __device__ __forceinline__ void publish(T* place, T value, int members) {
  if (CLUSTERED)
    for (int member = 0; member < members; member++) *map_shared(place, member) = value;
  else
    *place = value;
}

template <class T> __device__ __forceinline__ void swap(T*& a, T*& b) {
  T* c = a;
  a = b;
  b = c;
}

// Sums over `inputs` of in (inputs, ROWS) times weights, column c of which is weight(c)[i * stride], into partial (parts,
// ROWS, columns): threads take a column each, and parts of the inputs where there are fewer columns than threads.  in
// begins at 16 bytes and is read in such pieces, AT_ONCE inputs at a time.
template <int ROWS, class T, class Weight>
__device__ __forceinline__ void multiply(const T* in, int inputs, Weight weight, int stride, int columns, int parts,
                                         T* partial) {
  constexpr int AT_ONCE = 4;
  struct alignas(16) Piece {
    T values[16 / sizeof(T)];
  };
  union Group {
    Piece pieces[AT_ONCE * ROWS * sizeof(T) / 16];
    T values[AT_ONCE][ROWS];
  };
  int share = (inputs + AT_ONCE * parts - 1) / (AT_ONCE * parts) * AT_ONCE;
  for (int job = threadIdx.x; job < parts * columns; job += CELL_THREADS) {
    int c = job % columns, part = job / columns, i = part * share, end = min(inputs, i + share);
    const T* w = weight(c) + i64(i) * stride;
    T sum[ROWS] = {};
#pragma unroll 2
    for (; i + AT_ONCE <= end; i += AT_ONCE) {
      Group group;
#pragma unroll
      for (int piece = 0; piece < AT_ONCE * ROWS * int(sizeof(T)) / 16; piece++)
        group.pieces[piece] = reinterpret_cast<const Piece*>(in + i * ROWS)[piece];
#pragma unroll
      for (int next = 0; next < AT_ONCE; next++, w += stride) {
        T own = *w;
#pragma unroll
        for (int r = 0; r < ROWS; r++) sum[r] += own * group.values[next][r];
      }
    }
    for (; i < end; i++, w += stride)
#pragma unroll
      for (int r = 0; r < ROWS; r++) sum[r] += *w * in[i * ROWS + r];
#pragma unroll
    for (int r = 0; r < ROWS; r++) partial[(part * ROWS + r) * columns + c] = sum[r];
  }
}

// The product of `multiply` for one row and column, its parts added in order.
template <int ROWS, class T>
__device__ __forceinline__ T product_of(const T* partial, int columns, int parts, int r, int c) {
  T sum = 0;
  for (int part = 0; part < parts; part++) sum += partial[(part * ROWS + r) * columns + c];
  return sum;
}

// Calls out(place, j) for the own units j of each step after the team's last, place numbering the steps of all rows.
template <class Out> __device__ __forceinline__ void each_padded(const Member& own, i64 t, Out out) {
  i64 padded = t - own.steps, all = own.rows * padded * own.units;
  for (i64 i = threadIdx.x; i < all; i += CELL_THREADS) {
    i64 row = i / own.units / padded, step = own.steps + i / own.units % padded;
    out((own.row + row) * t + step, int(i % own.units));
  }
}
