// Between bytes and bits, and from rows to columns of bits.  Bytes are the limit: each is read and written once.
#include "common.cuh"

// packed (r, w) from states (r, n) of +1 and -1, a warp a word.
__global__ void pack(const signed char* states, i64 r, i64 n, i64 w, u64* packed) {
  int lane = threadIdx.x % WARP;
  for (i64 word = thread_number() / WARP; word < r * w; word += thread_count() / WARP) {
    const signed char* state = states + word / w * n;
    i64 i = 64 * (word % w) + lane;
    u64 low = __ballot_sync(ALL, i < n && state[i] > 0);
    u64 high = __ballot_sync(ALL, i + WARP < n && state[i + WARP] > 0);
    if (lane == 0) packed[word] = low | high << 32;
  }
}

// states (r, n) from packed (r, w), a thread eight states, stored at once where they begin at a multiple of 8.
__global__ void unpack(const u64* packed, i64 r, i64 n, i64 w, signed char* states) {
  for (i64 first = 8 * thread_number(); first < r * n; first += 8 * thread_count()) {
    i64 row = first / n, i = first % n;
    u64 octet = 0;
    for (int j = 0; j < 8 && first + j < r * n; j++) {
      octet |= u64(bit(packed + row * w, i) ? 1 : 0xff) << 8 * j;
      if (++i == n) i = 0, row++;
    }
    if (first + 8 <= r * n && reinterpret_cast<u64>(states) % 8 == 0)
      *reinterpret_cast<u64*>(states + first) = octet;
    else
      for (int j = 0; first + j < r * n; j++) states[first + j] = static_cast<signed char>(octet >> 8 * j);
  }
}

// Swaps the squares of `width` bits off the diagonal between two rows `width` apart: (a, b) of low and high row.
__device__ __forceinline__ void swap_squares(u64& low, u64& high, int width, u64 mask) {
  u64 swap = (low >> width ^ high) & mask;
  high ^= swap;
  low ^= swap << width;
}

// units (k, n, u) from packed (k, p, w): a warp transposes 64 x 64 bits by swapping ever smaller squares between
// lanes (Hacker's Delight, 7-3), lane l holding the rows l and l + 32; a block 256 x 256 bits, whole sectors of
// 32 bytes either way.
__global__ void __launch_bounds__(512) transpose(const u64* packed, i64 p, i64 n, i64 w, i64 u, u64* units) {
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  i64 across = (w + 3) / 4, down = (u + 3) / 4, tile = blockIdx.x;
  i64 network = tile / (across * down), column = tile % across * 4 + warp % 4, word = tile / across % down * 4 + warp / 4;
  if (column >= w || word >= u) return;
  const u64* in = packed + network * p * w;
  u64 row[2];
  for (int half = 0; half < 2; half++) {
    i64 mu = 64 * word + 32 * half + lane;
    row[half] = mu < p ? in[mu * w + column] : 0;
  }
  u64 mask = 0xffffffffull;
  swap_squares(row[0], row[1], 32, mask);
  for (int width = 16; width; width /= 2) {
    mask ^= mask << width;
    for (int half = 0; half < 2; half++) {
      u64 other = __shfl_xor_sync(ALL, row[half], width), own = row[half];
      if (lane & width)
        swap_squares(other, own, width, mask);
      else
        swap_squares(own, other, width, mask);
      row[half] = own;
    }
  }
  for (int half = 0; half < 2; half++) {
    i64 i = 64 * column + 32 * half + lane;
    if (i < n) units[(network * n + i) * u + word] = row[half];
  }
}
