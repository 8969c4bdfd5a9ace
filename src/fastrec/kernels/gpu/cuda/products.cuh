#pragma once
#include "mma.cuh"

// The product of a step: what was handed on, in (rows, inputs), times the weights of a block (inputs, columns). `parts`
// of the inputs are summed apart, and then added in order.  The weights of a thread lie together by the time it
// reads them, packed (depth, jobs): its first ones stay in registers, the rest in shared memory or L2.

inline constexpr int CELL_THREADS = 256, WARPS = CELL_THREADS / WARP;

// How a product is laid out: weights (depth, jobs), rows of inputs `pitch` apart, of sums `width`.  It is computed once,
// as every count takes a division.
struct Shape {
  int inputs, columns, parts, depth, jobs, pitch, width;
  int chunks, pairs;  // of a part and of a warp, on tensor cores
  u32 inverse;        // of columns, else
};

// Where a thread begins in inputs and in sums, on tensor cores.
struct Offsets {
  int in, out;
};

// Factors and sums of type T.  A job is a column and a part.
template <class T> struct Exact {
  using Real = T;
  using Operand = T;
  using Entry = T;
  static constexpr int AT_ONCE = 4;  // inputs
  // Entries of a thread in registers; the sums of many rows leave no room.
  template <int ROWS> static constexpr int HELD = ROWS > 4 ? 0 : sizeof(T) == 4 ? 96 : 40;

  __device__ static T operand(T x) { return x; }
  __device__ static Shape shape(int inputs, int columns, int parts) {
    int depth = (inputs + AT_ONCE * parts - 1) / (AT_ONCE * parts) * AT_ONCE;
    return {inputs, columns, parts, depth, parts * columns, parts * depth, columns, 0, 0, inverse_of(columns)};
  }
  template <int ROWS> __device__ static Offsets offsets(const Shape&) { return {}; }

  // Entry x of a job; value(input, column) is 0 for what there is not.
  template <class Value> __device__ static T entry(const Shape& s, int x, int job, Value value) {
    return value(job / s.columns * s.depth + x, job % s.columns);
  }

  // partial (parts, ROWS, width), or more of it, from the entries of which `kept` are held.
  template <int ROWS, int HELD>
  __device__ __forceinline__ static void multiply(const Shape& s, Offsets, const T* inputs, const T (&held)[HELD],
                                                  int kept, const T* rest, T* partial, bool more) {
    for (int job = threadIdx.x; job < s.jobs; job += CELL_THREADS) {
      int part = s.parts > 1 ? divided(job, s.inverse) : 0;
      const T *in = inputs + part * s.depth, *w = rest + job;
      Sums<ROWS> sums = {};
      if constexpr (HELD >= AT_ONCE) {
        auto add = [&](int x) { sums.add(in + x, s.pitch, {held[x], held[x + 1], held[x + 2], held[x + 3]}); };
        // Most of them without asking for each whether it is held, which takes as long as its product.
        constexpr int RUN = 32;
#pragma unroll
        for (int run = 0; run < HELD && run < kept; run += RUN) {
          if (run + RUN <= kept && run + RUN <= HELD) {
#pragma unroll
            for (int x = run; x < run + RUN && x < HELD; x += AT_ONCE) add(x);
          } else {
#pragma unroll
            for (int x = run; x < run + RUN && x < HELD; x += AT_ONCE)
              if (x < kept) add(x);
          }
        }
      }
#pragma unroll 2
      for (int x = kept; x < s.depth; x += AT_ONCE) {
        Weights next;
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++, w += s.jobs) next.values[i] = *w;
        sums.add(in + x, s.pitch, next);
      }
      T* out = partial + part * (ROWS - 1) * s.columns + job;
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        T sum = sums.of(r);
        out[r * s.columns] = more ? out[r * s.columns] + sum : sum;
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

  // The sums of each row; those of one row are four chains, so that additions need not wait for each other.
  template <int ROWS> struct Sums {
    static constexpr int CHAINS = ROWS == 1 ? AT_ONCE : 1;
    T chains[ROWS][CHAINS];

    // AT_ONCE inputs of each row.
    __device__ __forceinline__ void add(const T* in, int pitch, const Weights& w) {
      constexpr int LONG = 16 / sizeof(T);
#pragma unroll
      for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int x = 0; x < AT_ONCE; x += LONG) {
          Piece piece = *reinterpret_cast<const Piece*>(in + r * pitch + x);
#pragma unroll
          for (int i = 0; i < LONG; i++) chains[r][(x + i) % CHAINS] += w.values[x + i] * piece.values[i];
        }
    }
    __device__ __forceinline__ T of(int r) const {
      if constexpr (CHAINS == 1) return chains[r][0];
      return (chains[r][0] + chains[r][1]) + (chains[r][2] + chains[r][3]);
    }
  };
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
  __device__ static Shape shape(int inputs, int columns, int parts) {
    int chunks = (inputs + CHUNK * parts - 1) / (CHUNK * parts), warps = WARPS / parts;
    int pairs = (columns + PAIR * warps - 1) / (PAIR * warps);
    // A pitch odd in chunks, a width of 4 more than a multiple of 32: then a warp meets no bank twice.
    return {inputs, columns, parts, STEP * pairs * chunks, CELL_THREADS, (parts * chunks | 1) * CHUNK,
            warps * pairs * PAIR + 4, chunks, pairs, 0};
  }
  template <int ROWS> __device__ static Offsets offsets(const Shape& s) {
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, part = warp % s.parts;
    return {lane / 4 * s.pitch + part * s.chunks * CHUNK + lane % 4 * (CHUNK / 4),
            (part * ROWS + lane % 4 * 2) * s.width + warp / s.parts * s.pairs * PAIR + lane / 4};
  }

  template <class Value> __device__ static uint4 entry(const Shape& s, int x, int job, Value value) {
    int warp = job / WARP, lane = job % WARP, step = x / STEP, half = x % 2;
    int pair = warp / s.parts * s.pairs + step / s.chunks, chunk = warp % s.parts * s.chunks + step % s.chunks;
    int c = pair * PAIR + x % STEP / 2 * 16 + lane / 4,
        i = chunk * CHUNK + (4 * (lane % 4) + 2 * half) * Factor::IN_WORD;
    auto word = [&](int i, int c) { return Factor::word([&](int next) { return value(i + next, c); }); };
    return {word(i, c), word(i, c + 8), word(i + Factor::IN_WORD, c), word(i + Factor::IN_WORD, c + 8)};
  }

  template <int ROWS, int HELD>
  __device__ __forceinline__ static void multiply(const Shape& s, Offsets own, const Operand* in,
                                                  const uint4 (&held)[HELD], int kept, const uint4* rest,
                                                  float* partial, bool more) {
    // An mma takes about as long as five issue: sums of few rows are two chains each, to be added in the end.
    constexpr int TILES = ROWS / 8, CHAINS = TILES == 1 ? 2 : 1;
    int chunk = 0;
    const Operand* from = in + own.in;
    float* out = partial + own.out;
    float sum[2][TILES][CHAINS][4] = {};
    auto step = [&](const uint4& w0, const uint4& w1, const uint4& w2, const uint4& w3) {
#pragma unroll
      for (int tile = 0; tile < TILES; tile++) {
        uint4 x = *reinterpret_cast<const uint4*>(from + tile * 8 * s.pitch + chunk * CHUNK);
        Factor::mma(sum[0][tile][0], {w0.x, w0.y, w0.z, w0.w}, {x.x, x.y});
        Factor::mma(sum[1][tile][0], {w2.x, w2.y, w2.z, w2.w}, {x.x, x.y});
        Factor::mma(sum[0][tile][CHAINS - 1], {w1.x, w1.y, w1.z, w1.w}, {x.z, x.w});
        Factor::mma(sum[1][tile][CHAINS - 1], {w3.x, w3.y, w3.z, w3.w}, {x.z, x.w});
      }
      if (++chunk < s.chunks) return;
#pragma unroll
      for (int side = 0; side < 2; side++)
#pragma unroll
        for (int tile = 0; tile < TILES; tile++)
#pragma unroll
          for (int i = 0; i < 4; i++) {
            float& place = out[(tile * 8 + i % 2) * s.width + side * 16 + i / 2 * 8];
            float& first = sum[side][tile][0][i];
            if (CHAINS > 1) first += sum[side][tile][1][i];
            place = more ? place + first : first;
            first = 0;
            if (CHAINS > 1) sum[side][tile][1][i] = 0;
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
    for (int x = kept; x < s.depth; x += STEP, w += STEP * CELL_THREADS)
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
  Offsets own;
  Entry held[HELD ? HELD : 1];
  int kept;  // entries of each thread that are held: none where there are several times, or jobs of a thread
  const Entry* rest;

  __device__ static int kept_of(const Shape& shape, int times) {
    return times > 1 || shape.jobs > CELL_THREADS ? 0 : min(HELD, shape.depth);
  }
  // Entries of the block that are not held.
  __device__ static int rest_of(const Shape& shape, int times) {
    return (shape.depth * times - kept_of(shape, times)) * shape.jobs;
  }

  // packed (times, depth, jobs) in global memory; local: shared memory for what is not held, if it is to stay there.
  __device__ Weights(const Shape& shape, const Entry* packed, int times, Entry* local, bool resident)
      : shape(shape), own(P::template offsets<ROWS>(shape)) {
    int all = rest_of(shape, times);
    kept = kept_of(shape, times);
    if constexpr (HELD > 0)
#pragma unroll
      for (int x = 0; x < HELD; x++)
        if (x < kept && threadIdx.x < shape.jobs) held[x] = packed[x * shape.jobs + threadIdx.x];
    rest = packed + i64(kept) * shape.jobs;
    if (!resident) return;
    for (int i = threadIdx.x; i < all; i += CELL_THREADS) local[i] = rest[i];
    rest = local;
  }

  __device__ __forceinline__ void multiply(const typename P::Operand* in, typename P::Real* partial, int time) const {
    i64 skipped = i64(time) * shape.depth * shape.jobs;
    P::template multiply<ROWS>(shape, own, in, held, kept, rest + skipped, partial, time > 0);
  }

  // The product for one row and column.
  __device__ __forceinline__ typename P::Real product(const typename P::Real* partial, int r, int c) const {
    constexpr int AT_ONCE = 4;
    typename P::Real sum = 0;
#pragma unroll 1
    for (int first = 0; first < shape.parts; first += AT_ONCE) {
      typename P::Real some[AT_ONCE];
#pragma unroll
      for (int i = 0; i < AT_ONCE; i++)
        some[i] = first + i < shape.parts ? partial[((first + i) * ROWS + r) * shape.width + c] : 0;
      sum += (some[0] + some[1]) + (some[2] + some[3]);
    }
    return sum;
  }
};

// Calls use(r, j) for all of so many rows and columns, which are dealt to the threads of a block without a division: as
// many to a row as the power of two that its columns need.
template <class Use> __device__ __forceinline__ void each_element(int rows, int columns, Use use) {
  constexpr int MOST = 8;
  static_assert(CELL_THREADS == 1 << MOST);
  int shift = min(MOST, 32 - __clz(columns - 1));
#pragma unroll 1
  for (int r = int(threadIdx.x) >> shift; r < rows; r += CELL_THREADS >> shift)
#pragma unroll 1
    for (int j = threadIdx.x & ((1 << shift) - 1); j < columns; j += 1 << shift) use(r, j);
}

// Values of T in so many whole pieces of 16 bytes as hold `count` of them.
template <class T> __device__ __forceinline__ int whole_pieces(int count) {
  constexpr int PIECE = 16 / sizeof(T);
  return (count + PIECE - 1) / PIECE * PIECE;
}
