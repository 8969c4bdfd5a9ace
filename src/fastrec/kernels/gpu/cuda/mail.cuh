#pragma once
#include "common.cuh"

// Messages that blocks which run at once hand to each other through global memory, in pieces of three words with the
// number of the message beside them, in one store of 128 bits: who reads the number has the words, without a barrier
// or a fence.  Numbers begin with 1, in zeroed memory.  A place may be used again for the next message but one, once
// every reader of the first has been heard of in the second.
//
// The second use is right on hardware, but not by PTX's memory model alone: a relaxed load by one thread, bar.sync, then
// a relaxed store by another thread of the block gives no causality order there, so that in theory the store might be
// seen by the load.  On a card the load has returned its value before that is compared, and the comparison ends before
// the barrier that the store waits for; no store is performed before the instructions that it depends on.

inline constexpr int PIECE = 3;  // words

__device__ __forceinline__ void post(uint4* place, uint4 piece) {
#ifdef FASTREC_EMULATOR
  emulator::store_relaxed(place, piece);
#else
  asm volatile(
      "{\n\t.reg .b64 low, high;\n\t.reg .b128 piece;\n\tmov.b64 low, {%1, %2};\n\tmov.b64 high, {%3, %4};\n\t"
      "mov.b128 piece, {low, high};\n\tst.relaxed.gpu.global.b128 [%0], piece;\n\t}" ::"l"(place),
      "r"(piece.x), "r"(piece.y), "r"(piece.z), "r"(piece.w)
      : "memory");
#endif
}

__device__ __forceinline__ uint4 look(const uint4* place) {
#ifdef FASTREC_EMULATOR
  return emulator::load_relaxed(place);
#else
  uint4 piece;
  asm volatile(
      "{\n\t.reg .b64 low, high;\n\t.reg .b128 piece;\n\tld.relaxed.gpu.global.b128 piece, [%4];\n\t"
      "mov.b128 {low, high}, piece;\n\tmov.b64 {%0, %1}, low;\n\tmov.b64 {%2, %3}, high;\n\t}"
      : "=r"(piece.x), "=r"(piece.y), "=r"(piece.z), "=r"(piece.w)
      : "l"(place)
      : "memory");
  return piece;
#endif
}

// Messages of `words` words from each of `members` blocks to all, for each of ROWS rows, in (2, ROWS, members, pieces)
// pieces of global memory.  THREADS / ROWS threads take care of a row, and find their places in it without a division,
// which takes almost as long as a look.  AHEAD pieces of a thread are on their way at once: more than the 64 bytes a clock
// that a multiprocessor has from L2, during the 270 clocks of a load.
template <int THREADS, int ROWS> struct Mail {
  static constexpr int STRIDE = THREADS / ROWS, AHEAD = 6;
  uint4* pieces;
  int words, members, count;  // count: pieces of a member and row
  int row, lane;              // of this thread, and which of the row's it is
  int first;                  // the piece that it waits for before it looks at others
  u32 inverse;                // of count

  __device__ Mail(uint4* pieces, int words, int members)
      : pieces(pieces), words(words), members(members), count(count_of(words)), row(threadIdx.x / STRIDE),
        lane(threadIdx.x % STRIDE), first(lane % members * count), inverse(inverse_of(count)) {}

  __device__ static int count_of(int words) { return (words + PIECE - 1) / PIECE; }
  // Pieces of all messages.
  __device__ static i64 size(int words, int members) { return 2 * ROWS * i64(count_of(words)) * members; }

  __device__ __forceinline__ uint4* of(u32 number, int member) const {
    return pieces + (((number % 2 * ROWS + row) * members) + member) * count;
  }

  // Hands on what member `rank` has for so many rows, `pitch` words apart.
  __device__ __forceinline__ void send(u32 number, int rank, int rows, const u32* from, int pitch) const {
    if (row >= rows) return;
    uint4* to = of(number, rank);
    from += row * pitch;
#pragma unroll 1
    for (int piece = lane; piece < count; piece += STRIDE) {
      const u32* word = from + PIECE * piece;
      int left = words - PIECE * piece;
      post(to + piece, {word[0], left > 1 ? word[1] : 0, left > 2 ? word[2] : 0, number});
    }
  }

  // Puts the words of `taken` members from `giver` on into rows, `pitch` words apart.  A piece of one member is waited
  // for first, as all arrive at about the same time: to ask for everything in vain would keep the way busy.
  __device__ __forceinline__ void receive(u32 number, int giver, int taken, int rows, u32* into, int pitch) const {
    if (row >= rows) return;
    int all = taken * count, missing = PIECE * count - words;  // in the last piece of a member
    const uint4* from = of(number, giver);
    while (look(from + min(first, all - 1)).w != number) __nanosleep(20);
    from += lane;
    into += row * pitch + PIECE * lane;
    uint4 got[AHEAD];
#pragma unroll
    for (int i = 0; i < AHEAD; i++)
      if (lane + i * STRIDE < all) got[i] = look(from + i * STRIDE);
#pragma unroll 1
    for (int begin = lane; begin < all; begin += AHEAD * STRIDE) {
#pragma unroll
      for (int i = 0; i < AHEAD; i++) {
        int place = begin + i * STRIDE;
        if (place >= all) break;
        while (got[i].w != number) {
          __nanosleep(20);
          got[i] = look(from + i * STRIDE);
        }
        int member = divided(place, inverse);
        bool last = place == member * count + count - 1;
        u32* to = into - member * missing + PIECE * i * STRIDE;
        to[0] = got[i].x;
        if (!last || missing < 2) to[1] = got[i].y;
        if (!last || missing < 1) to[2] = got[i].z;
        if (place + AHEAD * STRIDE < all) got[i] = look(from + (i + AHEAD) * STRIDE);
      }
      from += AHEAD * STRIDE;
      into += PIECE * AHEAD * STRIDE;
    }
  }
};
