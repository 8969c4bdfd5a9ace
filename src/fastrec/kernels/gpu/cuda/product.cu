// Products of matrices of signs: overlaps, the Gram matrix, couplings.
//
// The sum over columns of products of signs is bits - 2 |a xor b| = bits - 2 |a| - 2 |b| + 4 |a and b|, and
// |a and b| is what a tensor core counts: 2^15 products an mma (on sm_90 one BMMA; xor would take two).  A popcount
// does 32 in the time that an mma does thousands.
#include "tile.cuh"

// ones (rows): the bits set in each row of a (rows, w), a warp a row.
__global__ void count_ones(const u64* a, i64 rows, i64 w, int* ones) {
  for (i64 row = thread_number() / WARP; row < rows; row += thread_count() / WARP) {
    int count = 0;
    for (i64 word = threadIdx.x % WARP; word < w; word += WARP) count += __popcll(a[row * w + word]);
    count = warp_sum(count);
    if (threadIdx.x % WARP == 0) ones[row] = count;
  }
}

// out (k, rows, columns) = sums of products of the signs of a (k, rows, w) with b (k, columns, w), `bits` of each row.
// ones (k, rows): the bits set in a; those of b, which may be far larger, are counted on the way, by a row of ones in
// each tile.  symmetric: a is b; only tiles that reach the diagonal from below, and all of them written to both sides.
// zero_diagonal: with it, 0 for each row with itself.  A block a tile.
template <class T, int ACROSS>
__global__ void __launch_bounds__(64 * ACROSS, 4 / ACROSS)
    sign_product(const u64* a, const u64* b, const int* ones, i64 rows, i64 columns, i64 w, i64 bits, i64 symmetric,
                 i64 zero_diagonal, T* out) {
  extern __shared__ __align__(16) unsigned char shared[];
  constexpr int WIDTH = Tile<ACROSS>::COLUMNS, WIDER = WIDTH / TILE;
  int begin = symmetric ? 0 : 1, height = TILE - begin;  // rows of a in a tile
  i64 down = (rows + height - 1) / height, across = (columns + WIDTH - 1) / WIDTH;
  // WIDER rows of tiles end below the same column of tiles, and have as many up to there.
  i64 full = down / WIDER, tiles = symmetric ? (WIDER * full + 2 * (down % WIDER)) * (full + 1) / 2 : down * across;
  i64 network = blockIdx.x / tiles, tile = blockIdx.x % tiles, i, j;
  if (symmetric) {
    j = i64((sqrt(8. * (tile / WIDER) + 1) - 1) / 2);
    while (WIDER * (j * (j + 1) / 2) > tile) j--;
    while (WIDER * ((j + 1) * (j + 2) / 2) <= tile) j++;
    tile -= WIDER * (j * (j + 1) / 2);
    i = j * WIDER + tile / (j + 1);
    j = tile % (j + 1);
  } else {
    i = tile / across;
    j = tile % across;
  }
  u32 top = u32(i * height - begin), left = u32(j * WIDTH), last_row = u32(rows - 1), last_column = u32(columns - 1);
  int rows_here = int(min(last_row - top + 1, u32(TILE)));
  u64* stage = reinterpret_cast<u64*>(shared);
  Tile<ACROSS> tile_counts;
  tile_counts.count(
      stage, a + network * rows * w, [=](int r) { return min(top + r, last_row); }, b + network * columns * w,
      [=](int c) { return min(left + c, last_column); }, w, int(w), rows_here, !symmetric);

  // A thread a column, so that threads beside each other write what is so.
  const int* row_ones = ones + network * rows;
  T* own = out + network * rows * columns;
  u32 c = threadIdx.x, column = left + c;
  int column_ones = symmetric ? row_ones[min(column, last_column)] : 0;
  tile_counts.halves(stage, rows_here, [&](int first, int end, int* both) {
    int r = first ? 0 : begin;
    if (r == 1) column_ones = both[c];
    for (T* at = own + i64(top + first + r) * columns + column; r < end; r++, at += columns) {
      u32 row = top + first + r;
      int value = int(bits) - 2 * (row_ones[row] + column_ones) + 4 * both[r * Tile<ACROSS>::PITCH + c];
      if (zero_diagonal && row == column) value = 0;
      if (column <= (symmetric ? row : last_column)) *at = T(value);
      if (symmetric) both[r * Tile<ACROSS>::PITCH + c] = value;
    }
    if (!symmetric) return;
    __syncthreads();
    // Eight rows of four columns a warp.
    for (int j = threadIdx.x / 8; j < WIDTH; j += Tile<ACROSS>::THREADS / 8) {
      T* mirrored = own + i64(left + j) * columns + top + first;
      for (int i = threadIdx.x % 8; i < end; i += 8)
        if (left + j < top + first + i) mirrored[i] = T(both[i * Tile<ACROSS>::PITCH + j]);
    }
  });
}
