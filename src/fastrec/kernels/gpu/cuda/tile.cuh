#pragma once
#include "copy.cuh"
#include "mma.cuh"

constexpr int TILE = 128;           // rows and columns of a block's tile
constexpr int TILE_THREADS = 256;   // 8 warps in 2 x 4, each 64 rows and 32 columns
constexpr int DEPTH = 16;           // words of every row in one stage of the pipeline
constexpr int STAGES = 3;

// Where word c of row r lies in a stage: rows that a warp reads together are moved apart by whole quarters, so that
// its 64-bit reads meet no bank twice.
__device__ __forceinline__ int swizzled(int r, int c) { return r * DEPTH + (c ^ (r % 4) * 4); }

// The counts of common bits of TILE rows with TILE columns, rows of `words` words each, by a block of TILE_THREADS.
// row(i), column(j): where row i and column j of the tile begin, nullptr for none.  out(i, j, counts): takes the
// counts of row i, columns j and j + 1.  There is a row 0.  stage: STAGES (2 TILE, DEPTH) words of shared memory, free at
// the call and after the next barrier.
//
// An mma reads 1.5 kB from registers for 32768 products of bits; a warp's 16 of them read 3 kB from shared memory
// a step of 256 columns, a block's tile 64 kB from L2 for 2^24 products.
template <class Row, class Column, class Out>
__device__ __forceinline__ void tile_product(u64* stage, Row row, Column column, int words, Out out) {
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, group = lane / 4, quad = lane % 4;
  int top = warp / 4 * 64, left = warp % 4 * 32;
  int acc[4][4][4] = {};

  auto fetch = [&](int chunk) {
    u64* into = stage + chunk % STAGES * 2 * TILE * DEPTH;
    int c = threadIdx.x % DEPTH, word = chunk * DEPTH + c;
    for (int r = threadIdx.x / DEPTH; r < 2 * TILE; r += TILE_THREADS / DEPTH) {
      const u64* from = r < TILE ? row(r) : column(r - TILE);
      bool there = from && word < words;
      copy_value(&into[swizzled(r, c)], there ? from + word : row(0), there);
    }
  };

  int chunks = (words + DEPTH - 1) / DEPTH;
  for (int chunk = 0; chunk < STAGES - 1; chunk++) {
    if (chunk < chunks) fetch(chunk);
    copy_commit();
  }
  for (int chunk = 0; chunk < chunks; chunk++) {
    copy_wait<STAGES - 2>();
    __syncthreads();
    if (chunk + STAGES - 1 < chunks) fetch(chunk + STAGES - 1);
    copy_commit();
    const u64* rows = stage + chunk % STAGES * 2 * TILE * DEPTH;
    const u64* columns = rows + TILE * DEPTH;
    int steps = (min(DEPTH, words - chunk * DEPTH) + 3) / 4;
#pragma unroll 1
    for (int step = 0; step < steps; step++) {
      u32 a[4][4], b[4][2];
#pragma unroll
      for (int t = 0; t < 4; t++) {
        int r = top + 16 * t + group;
        spread(rows[swizzled(r, 4 * step + quad)], a[t][0], a[t][2]);
        spread(rows[swizzled(r + 8, 4 * step + quad)], a[t][1], a[t][3]);
        spread(columns[swizzled(left + 8 * t + group, 4 * step + quad)], b[t][0], b[t][1]);
      }
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) mma_bits(acc[i][j], a[i], b[j]);
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
      for (int half = 0; half < 2; half++)
        out(top + 16 * i + 8 * half + group, left + 8 * j + 2 * quad, acc[i][j][2 * half], acc[i][j][2 * half + 1]);
}
