#pragma once
#include "copy.cuh"
#include "mma.cuh"

inline constexpr int TILE = 128;  // rows of a block's tile: two warps with 64 each
inline constexpr int DEPTH = 8;   // words of every line, a row or a column, in one stage of the pipeline

// Where word c of a line lies in a stage: such that eight lines, of which load_matrices reads the same 16 bytes, do so
// from different banks.
__device__ __forceinline__ int swizzled(int line, int c) { return line * DEPTH + (c ^ line / 2 % 4 * 2); }

// The counts of common bits of TILE rows with 64 ACROSS columns, by 64 ACROSS threads: warps of 64 rows and 64 columns,
// ACROSS of them beside each other.
//
// A step of 256 bits is 32 mma for a warp, 64 clocks of a multiprocessor at 2^14 products a clock, and reads 4 kB of
// shared memory, 32 clocks; for each of its warps a block reads (2 + ACROSS) / ACROSS kB from L2 into shared memory.
// More columns read less, and two small blocks on a multiprocessor hide each other's beginning and end.
template <int ACROSS> struct Tile {
  static constexpr int COLUMNS = 64 * ACROSS, THREADS = 64 * ACROSS, LINES = TILE + COLUMNS;
  static constexpr int STAGES = 2 + ACROSS / 2;  // in 100 KB of a multiprocessor two blocks fit, or one of ACROSS = 4
  static constexpr int HALF = TILE / 2, PITCH = COLUMNS + 4;  // eight rows of four columns lie in all banks
  static constexpr int WORDS = STAGES * LINES * DEPTH + LINES / 2;  // of shared memory
  int both[4][8][4];

  // Counts over `words` words of rows row(i) of a and rows column(j) of b, matrices whose rows are `stride` words
  // apart, for the first `rows` rows.  Lines that are not there may be any others.  With ones, row 0 is all ones, and
  // its counts are the bits set in each column.  stage: WORDS of shared memory, read by row and column alone at the
  // call, and free after the next barrier.
  template <class Row, class Column>
  __device__ __forceinline__ void count(u64* stage, const u64* a, Row row, const u64* b, Column column, i64 stride,
                                        int words, int rows, bool ones) {
    constexpr int APART = THREADS / DEPTH, COPIES = LINES / APART;  // of a thread: one word of each APART-th line
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, c = threadIdx.x % DEPTH, own = threadIdx.x / DEPTH;
    u32* lines = reinterpret_cast<u32*>(stage + STAGES * LINES * DEPTH);  // (APART, COPIES)
    for (int i = threadIdx.x; i < LINES; i += THREADS)
      lines[i % APART * COPIES + i / APART] = i < TILE ? row(i) : column(i - TILE);
    __syncthreads();
    if (ones)
      for (int i = threadIdx.x; i < STAGES * DEPTH; i += THREADS)
        stage[i / DEPTH * LINES * DEPTH + swizzled(0, i % DEPTH)] = ~0ull;
    u32 pitch = u32(8 * stride);

    auto fetch = [&](int chunk) {
      u64* into = stage + chunk % STAGES * LINES * DEPTH + swizzled(own, c);
      int word = chunk * DEPTH + c;
      const char *in_a = reinterpret_cast<const char*>(a + word), *in_b = reinterpret_cast<const char*>(b + word);
#pragma unroll
      for (int k = 0; k < COPIES; k += 4) {
        uint4 four = *reinterpret_cast<const uint4*>(lines + own * COPIES + k);
        u32 line[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
        for (int i = 0; i < 4; i++)
          if (k + i || own || !ones)
            copy_value(into + (k + i) * APART * DEPTH,
                       reinterpret_cast<const u64*>((k < TILE / APART ? in_a : in_b) + u64(line[i]) * pitch),
                       word < words);
      }
    };

#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) both[i][j][e] = 0;
    int chunks = (words + DEPTH - 1) / DEPTH;
#pragma unroll 1
    for (int chunk = 0; chunk < STAGES - 1; chunk++) {
      if (chunk < chunks) fetch(chunk);
      copy_commit();
    }
#pragma unroll 1
    for (int chunk = 0; chunk < chunks; chunk++) {
      copy_wait<STAGES - 2>();
      __syncthreads();
      if (chunk + STAGES - 1 < chunks) fetch(chunk + STAGES - 1);
      copy_commit();
      if (warp / ACROSS * 64 >= rows) continue;
      // This lane names a line of every 16 rows, and of every 16 columns, and which half of their 256 bits.
      const u64* full = stage + chunk % STAGES * LINES * DEPTH;
      const u64* above = full + (warp / ACROSS * 64 + lane % 16) * DEPTH;
      const u64* beside = full + (TILE + warp % ACROSS * 64 + lane / 16 * 8 + lane % 8) * DEPTH;
#pragma unroll
      for (int step = 0; step < DEPTH / 4; step++) {
        int row_word = swizzled(lane % 8, 4 * step + lane / 16 * 2) - lane % 8 * DEPTH;
        int column_word = swizzled(lane % 8, 4 * step + lane / 8 % 2 * 2) - lane % 8 * DEPTH;
        u32 x[4][4];
#pragma unroll
        for (int i = 0; i < 4; i++) load_matrices(x[i], above + 16 * i * DEPTH + row_word);
#pragma unroll
        for (int j = 0; j < 8; j += 2) {
          u32 y[4];
          load_matrices(y, beside + 8 * j * DEPTH + column_word);
#pragma unroll
          for (int half = 0; half < 2; half++) {
            u32 own[2] = {y[2 * half], y[2 * half + 1]};
#pragma unroll
            for (int i = 0; i < 4; i++) mma_bits(both[i][j + half], x[i], own);
          }
        }
      }
    }
  }

  // Passes the counts of the first `rows` rows to shared memory, half of the tile's at a time: take(first, end, counts)
  // finds those of rows first..first + end - 1 in counts (HALF, PITCH).  stage: as for count.
  template <class Take> __device__ __forceinline__ void halves(u64* stage, int rows, Take take) const {
    static_assert(HALF * PITCH * sizeof(int) <= WORDS * sizeof(u64));
    int* counts = reinterpret_cast<int*>(stage);
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int* own = counts + lane / 4 * PITCH + warp % ACROSS * 64 + lane % 4 * 2;
    for (int first = 0; first < rows; first += HALF) {
      __syncthreads();
      if (warp / ACROSS * HALF == first)
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
          for (int j = 0; j < 8; j++)
#pragma unroll
            for (int next = 0; next < 2; next++)
              own[8 * i * PITCH + 8 * j + next] = both[i / 2][j][i % 2 * 2 + next];
      __syncthreads();
      take(first, min(HALF, rows - first), counts);
    }
  }
};
