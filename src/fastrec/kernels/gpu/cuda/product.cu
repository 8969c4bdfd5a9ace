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
// symmetric: a is b; only tiles on and below the diagonal are counted, and written to both sides.
// zero_diagonal: with it, 0 for each row with itself.  A block a tile.
template <class T>
__global__ void __launch_bounds__(TILE_THREADS, 2)
    sign_product(const u64* a, const u64* b, const int* a_ones, const int* b_ones, i64 rows, i64 columns, i64 w,
                 i64 bits, i64 symmetric, i64 zero_diagonal, T* out) {
  extern __shared__ __align__(16) unsigned char shared[];
  i64 down = (rows + TILE - 1) / TILE, across = (columns + TILE - 1) / TILE;
  i64 tiles = symmetric ? down * (down + 1) / 2 : down * across;
  i64 network = blockIdx.x / tiles, tile = blockIdx.x % tiles, i, j;
  if (symmetric) {
    i = i64((sqrt(8. * tile + 1) - 1) / 2);
    while (i * (i + 1) / 2 > tile) i--;
    while ((i + 1) * (i + 2) / 2 <= tile) i++;
    j = tile - i * (i + 1) / 2;
  } else {
    i = tile / across;
    j = tile % across;
  }
  const u64 *own_a = a + network * rows * w, *own_b = b + network * columns * w;
  const int *own_a_ones = a_ones + network * rows, *own_b_ones = b_ones + network * columns;
  T* own = out + network * rows * columns;
  i64 top = i * TILE, left = j * TILE;
  tile_product(
      reinterpret_cast<u64*>(shared), [=](int r) { return top + r < rows ? own_a + (top + r) * w : nullptr; },
      [=](int c) { return left + c < columns ? own_b + (left + c) * w : nullptr; }, int(w),
      [=](int r, int c, int first, int second) {
        i64 row = top + r;
        if (row >= rows) return;
        for (int next = 0; next < 2; next++) {
          i64 column = left + c + next;
          if (column >= columns) break;
          int both = next ? second : first;
          T value = T(bits - 2 * (i64(own_a_ones[row]) + own_b_ones[column]) + 4 * i64(both));
          if (zero_diagonal && row == column) value = 0;
          own[row * columns + column] = value;
          if (symmetric && i != j) own[column * columns + row] = value;
        }
      });
}
