#pragma once
#include "mma.cuh"

// The product of a step: what was handed on, in (rows, inputs), times the weights of a block (inputs, columns). `parts`
// of the inputs are summed apart, and then added in order.  The weights of a thread lie together by the time it
// reads them, packed (depth, jobs): its first ones stay in registers, the rest in shared memory or L2.

inline constexpr int CELL_THREADS = 256, WARPS = CELL_THREADS / WARP;

struct Shape {
  int inputs, columns, parts;
};

// Factors and sums of type T.  A job is a column and a part; threads with several have but one part.
template <class T> struct Exact {
  using Real = T;
  using Operand = T;
  using Entry = T;
  static constexpr int AT_ONCE = 4;  // inputs
  // Entries of a thread in registers; the sums of many rows leave no room.
  template <int ROWS> static constexpr int HELD = ROWS > 4 ? 0 : sizeof(T) == 4 ? 96 : 40;

  __device__ static T operand(T x) { return x; }
  __device__ static int depth(Shape s) { return (s.inputs + AT_ONCE * s.parts - 1) / (AT_ONCE * s.parts) * AT_ONCE; }
  __device__ static int jobs(Shape s) { return s.parts * s.columns; }
  __device__ static int pitch(Shape s) { return s.parts * depth(s); }  // from row to row of in
  __device__ static int width(Shape s) { return s.columns; }           // of a row of sums

  // Entry x of a job; value(input, column) is 0 for what there is not.
  template <class Value> __device__ static T entry(Shape s, int x, int job, Value value) {
    return value(job / s.columns * depth(s) + x, job % s.columns);
  }

  // partial (parts, ROWS, width), or more of it, from the entries of which `kept` are held.
  template <int ROWS, int HELD>
  __device__ __forceinline__ static void multiply(Shape s, const T* in, const T (&held)[HELD], int kept, const T* rest,
                                                  T* partial, bool more) {
    int row = pitch(s), deep = depth(s), all = jobs(s);
    for (int job = threadIdx.x; job < all; job += CELL_THREADS) {
      int part = s.parts > 1 ? job / s.columns : 0, c = job - part * s.columns;
      const T *from = in + part * deep, *w = rest + job;
      T sum[ROWS] = {};
      if constexpr (HELD >= AT_ONCE) {
#pragma unroll
        for (int x = 0; x < HELD; x += AT_ONCE)
          if (x < kept) add(sum, from + x, row, {held[x], held[x + 1], held[x + 2], held[x + 3]});
      }
#pragma unroll 2
      for (int x = kept; x < deep; x += AT_ONCE) {
        Weights next;
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++, w += all) next.values[i] = *w;
        add(sum, from + x, row, next);
      }
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        T& out = partial[(part * ROWS + r) * s.columns + c];
        out = more ? out + sum[r] : sum[r];
      }
    }
  }

 private:
  struct Weights {
    T values[AT_ONCE];
  };
  struct alignas(16) Piece {
    T values[16 / sizeof(T)];
  };

  // AT_ONCE inputs of each row.
  template <int ROWS> __device__ __forceinline__ static void add(T (&sum)[ROWS], const T* in, int pitch, Weights w) {
    constexpr int LONG = 16 / sizeof(T);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
      for (int x = 0; x < AT_ONCE; x += LONG) {
        Piece piece = *reinterpret_cast<const Piece*>(in + r * pitch + x);
#pragma unroll
        for (int i = 0; i < LONG; i++) sum[r] += w.values[x + i] * piece.values[i];
      }
  }
};
using Float = Exact<float>;
using Double = Exact<double>;

// Factors rounded to bf16 or tf32, sums of float32, by tensor cores: columns are the 16 rows of an mma, rows its 8
// columns.  A chunk of 64 bytes of inputs takes two mma; which inputs each sums does not matter, so that a lane reads
// its 16 bytes of a row, and its four words of two columns, at once.  A warp has a part of the chunks and a run of
// pairs of 16 columns; in its steps of one pair and one chunk it reads four entries.
template <class Factor> struct Tensor {
  using Real = float;
  using Operand = typename Factor::Operand;
  using Entry = uint4;
  static constexpr int CHUNK = 64 / sizeof(Operand), PAIR = 32, STEP = 4;
  template <int ROWS> static constexpr int HELD = ROWS > 8 ? 28 : 32;

  __device__ static Operand operand(float x) { return Factor::operand(x); }
  __device__ static int chunks(Shape s) { return (s.inputs + CHUNK * s.parts - 1) / (CHUNK * s.parts); }  // of a part
  __device__ static int pairs(Shape s) { return (s.columns + PAIR * WARPS / s.parts - 1) / (PAIR * WARPS / s.parts); }
  __device__ static int depth(Shape s) { return STEP * pairs(s) * chunks(s); }
  __device__ static int jobs(Shape) { return CELL_THREADS; }
  // Odd in chunks, and 4 more than a multiple of 32: then a warp meets no bank twice.
  __device__ static int pitch(Shape s) { return (s.parts * chunks(s) | 1) * CHUNK; }
  __device__ static int width(Shape s) { return WARPS / s.parts * pairs(s) * PAIR + 4; }

  template <class Value> __device__ static uint4 entry(Shape s, int x, int job, Value value) {
    int warp = job / WARP, lane = job % WARP, step = x / STEP, half = x % 2;
    int pair = warp / s.parts * pairs(s) + step / chunks(s), chunk = warp % s.parts * chunks(s) + step % chunks(s);
    int c = pair * PAIR + x % STEP / 2 * 16 + lane / 4,
        i = chunk * CHUNK + (4 * (lane % 4) + 2 * half) * Factor::IN_WORD;
    auto word = [&](int i, int c) { return Factor::word([&](int next) { return value(i + next, c); }); };
    return {word(i, c), word(i, c + 8), word(i + Factor::IN_WORD, c), word(i + Factor::IN_WORD, c + 8)};
  }

  template <int ROWS, int HELD>
  __device__ __forceinline__ static void multiply(Shape s, const Operand* in, const uint4 (&held)[HELD], int kept,
                                                  const uint4* rest, float* partial, bool more) {
    constexpr int TILES = ROWS / 8;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, part = warp % s.parts;
    int row = pitch(s), wide = width(s), deep = depth(s), run = chunks(s), chunk = 0;
    const Operand* from = in + lane / 4 * row + part * run * CHUNK + lane % 4 * (CHUNK / 4);
    float* out = partial + (part * ROWS + lane % 4 * 2) * wide + warp / s.parts * pairs(s) * PAIR + lane / 4;
    float sum[2][TILES][4] = {};
    auto step = [&](const uint4& w0, const uint4& w1, const uint4& w2, const uint4& w3) {
#pragma unroll
      for (int tile = 0; tile < TILES; tile++) {
        uint4 x = *reinterpret_cast<const uint4*>(from + tile * 8 * row + chunk * CHUNK);
        Factor::mma(sum[0][tile], {w0.x, w0.y, w0.z, w0.w}, {x.x, x.y});
        Factor::mma(sum[1][tile], {w2.x, w2.y, w2.z, w2.w}, {x.x, x.y});
        Factor::mma(sum[0][tile], {w1.x, w1.y, w1.z, w1.w}, {x.z, x.w});
        Factor::mma(sum[1][tile], {w3.x, w3.y, w3.z, w3.w}, {x.z, x.w});
      }
      if (++chunk < run) return;
#pragma unroll
      for (int side = 0; side < 2; side++)
#pragma unroll
        for (int tile = 0; tile < TILES; tile++)
#pragma unroll
          for (int i = 0; i < 4; i++) {
            float& place = out[(tile * 8 + i % 2) * wide + side * 16 + i / 2 * 8];
            place = more ? place + sum[side][tile][i] : sum[side][tile][i];
            sum[side][tile][i] = 0;
          }
      out += PAIR;
      chunk = 0;
    };
    if constexpr (HELD >= STEP) {
#pragma unroll
      for (int x = 0; x < HELD; x += STEP)
        if (x < kept) step(held[x], held[x + 1], held[x + 2], held[x + 3]);
    }
    const uint4* w = rest + threadIdx.x;
    for (int x = kept; x < deep; x += STEP, w += STEP * CELL_THREADS)
      step(w[0], w[CELL_THREADS], w[2 * CELL_THREADS], w[3 * CELL_THREADS]);
  }
};

struct Bf16Factor {
  using Operand = unsigned short;
  static constexpr int IN_WORD = 2;
  __device__ static Operand operand(float x) { return to_bf16(x); }
  template <class Value> __device__ static u32 word(Value value) { return to_bf16(value(0), value(1)); }
  __device__ static void mma(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) { mma_bf16(d, a, b); }
};
struct Tf32Factor {
  using Operand = u32;
  static constexpr int IN_WORD = 1;
  __device__ static Operand operand(float x) { return to_tf32(x); }
  template <class Value> __device__ static u32 word(Value value) { return to_tf32(value(0)); }
  __device__ static void mma(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) { mma_tf32(d, a, b); }
};
using Bf16 = Tensor<Bf16Factor>;
using Tf32 = Tensor<Tf32Factor>;

// The weights of a block during all steps, for the inputs of one time after the other.
template <class P, int ROWS, int HELD> struct Weights {
  using Entry = typename P::Entry;
  Shape shape;
  Entry held[HELD ? HELD : 1];
  int kept;  // entries of each thread that are held: none where there are several times, or jobs of a thread
  const Entry* rest;

  __device__ static int kept_of(Shape shape, int times) {
    return times > 1 || P::jobs(shape) > CELL_THREADS ? 0 : min(HELD, P::depth(shape));
  }
  // Entries of the block that are not held.
  __device__ static int rest_of(Shape shape, int times) {
    return (P::depth(shape) * times - kept_of(shape, times)) * P::jobs(shape);
  }

  // packed (times, depth, jobs) in global memory; local: shared memory for what is not held, if it is to stay there.
  __device__ Weights(Shape shape, const Entry* packed, int times, Entry* local, bool resident) : shape(shape) {
    int jobs = P::jobs(shape), all = rest_of(shape, times);
    kept = kept_of(shape, times);
    if constexpr (HELD > 0)
#pragma unroll
      for (int x = 0; x < HELD; x++)
        if (x < kept && threadIdx.x < jobs) held[x] = packed[x * jobs + threadIdx.x];
    rest = packed + i64(kept) * jobs;
    if (!resident) return;
    for (int i = threadIdx.x; i < all; i += CELL_THREADS) local[i] = rest[i];
    rest = local;
  }

  __device__ __forceinline__ void multiply(const typename P::Operand* in, typename P::Real* partial, int time) const {
    i64 skipped = i64(time) * P::depth(shape) * P::jobs(shape);
    P::template multiply<ROWS>(shape, in, held, kept, rest + skipped, partial, time > 0);
  }

  // The product for one row and column.
  __device__ __forceinline__ typename P::Real product(const typename P::Real* partial, int r, int c) const {
    typename P::Real sum = 0;
    for (int part = 0, width = P::width(shape); part < shape.parts; part++)
      sum += partial[(part * ROWS + r) * width + c];
    return sum;
  }
};

// Values of T in so many whole pieces of 16 bytes as hold `count` of them.
template <class T> __device__ __forceinline__ int whole_pieces(int count) {
  constexpr int PIECE = 16 / sizeof(T);
  return (count + PIECE - 1) / PIECE * PIECE;
}
