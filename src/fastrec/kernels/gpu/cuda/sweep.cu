// Exact recall of large networks in pattern space, by the whole grid, without a matrix of couplings.
//
// The state of a row is also kept as its overlaps with the patterns.  A sweep takes the units in blocks of BLOCK
// (blocked Gauss-Seidel): the fields of a block from the overlaps, one product of bits; if none of them wants to
// flip, the block is done, for nothing changes.  Else the couplings of the units that want to, or nearly, to all of
// the block, one more product; then the units one after the other by a block of threads a row, and the overlaps of
// what has flipped.  If a unit turns that was not expected to, the couplings of all others are computed, too, and the
// units go on from there.  For n units, p patterns and f flips a sweep reads n p / 8 bytes of units, 4 p bytes of
// planes for each 16 units of a row, counts n p times the planes and, for a fraction x of the units expected to turn,
// x n p BLOCK products of bits, and takes f steps of a third of a microsecond; a block of units without flips costs one
// barrier.
#include "barrier.cuh"
#include "fields.cuh"
#include "tile.cuh"

inline constexpr int BLOCK = 2048;                   // units of a block: 16 for every multiprocessor of a large card
inline constexpr int SWEEP_THREADS = 256;            // of a block: those of a tile of couplings
inline constexpr int WARPS = SWEEP_THREADS / WARP;
inline constexpr int OWN = BLOCK / SWEEP_THREADS;    // units of a thread in the sequential pass
inline constexpr int GROUP = 32;                     // rows whose fields a block of threads sums at once
inline constexpr int ENDS = 6;                       // stages of a tile's product that its beginning and end cost
inline constexpr int MASK = BLOCK / 32;              // words with a bit for each unit of a block
inline constexpr int WANTED = MASK + 2;              // words that say what the units of a block want
inline constexpr u32 NONE = ~0u;

// The fields of the 16 units whose rows unit(i) names, of each row of b that is under way: out(row, i, sum), the
// field with the self-coupling in.  The warps share rows, and the patterns where there are fewer rows than warps.
template <int NT, class Unit, class Active, class Out>
__device__ __forceinline__ void tile_fields(Unit unit, const u64* planes, const u64* totals, i64 b, i64 u,
                                            Active active, Out out) {
  extern __shared__ __align__(16) unsigned char shared[];
  u64* sums = reinterpret_cast<u64*>(shared);  // (GROUP, 16)
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  for (i64 first = 0; first < b; first += GROUP) {
    int rows = int(min(i64(GROUP), b - first)), slices = rows < WARPS ? WARPS / rows : 1;
    i64 part = (u + 4 * slices - 1) / (4 * slices) * 4;  // words of a slice
    __syncthreads();
    for (int i = threadIdx.x; i < rows * 16; i += SWEEP_THREADS) sums[i] = 0;
    __syncthreads();
    for (int job = warp; job < rows * slices; job += WARPS) {
      i64 row = first + job / slices, begin = job % slices * part;
      if (!active(row) || begin >= u) continue;
      i64 sum[2];
      plane_sums<NT>(unit, planes + row * 8 * NT * u, u, begin, min(begin + part, u), sum);
      if (lane % 4 == 0) {
        atomicAdd(&sums[job / slices * 16 + lane / 4], u64(sum[0]));
        atomicAdd(&sums[job / slices * 16 + lane / 4 + 8], u64(sum[1]));
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < rows * 16; i += SWEEP_THREADS)
      if (active(first + i / 16)) out(first + i / 16, i % 16, 2 * i64(sums[i]) - i64(__ldcg(totals + first + i / 16)));
  }
}

// Adds what the turns of each row (twice the unit, plus one if it is +1 now) change to m (b, p), its planes and
// totals: a warp for 32 patterns.
template <int NT, class Turns>
__device__ __forceinline__ void turn_overlaps(Turns turns_of, const u32* turned, i64 stride, const u64* units, i64 b,
                                              i64 p, i64 u, int* m, u64* planes, u64* totals) {
  int lane = threadIdx.x % WARP;
  const u32* halves = reinterpret_cast<const u32*>(units);
  for (i64 job = thread_number() / WARP; job < b * 2 * u; job += thread_count() / WARP) {
    i64 row = job / (2 * u), half_word = job % (2 * u), mu = WARP * half_word + lane;
    int turns = turns_of(row), change = 0;
    if (turns == 0) continue;
#pragma unroll 8
    for (int i = 0; i < turns; i++) {
      u32 turn = __ldcg(turned + row * stride + i);
      bool up = __ldg(halves + i64(turn >> 1) * 2 * u + half_word) >> lane & 1;
      change += up == bool(turn & 1) ? 2 : -2;
    }
    if (mu >= p) change = 0;
    int own = mu < p ? m[row * p + mu] + change : 0;
    if (mu < p) m[row * p + mu] = own;
    write_planes<NT>(own, half_word, u, reinterpret_cast<u32*>(planes + row * 8 * NT * u));
    i64 sum = warp_sum(i64(change));
    if (lane == 0) atomicAdd(&totals[row], u64(sum));
  }
}

// form[row * stride] = sum of squared overlaps less `diagonal`, of the rows under way; a block of threads a row.
template <class Active>
__device__ __forceinline__ void write_forms(const int* m, i64 b, i64 p, i64 diagonal, Active active, i64* forms,
                                            i64 stride) {
  __shared__ i64 partial[WARP];
  for (i64 row = blockIdx.x; row < b; row += gridDim.x) {
    if (!active(row)) continue;
    i64 sum = 0;
    for (i64 mu = threadIdx.x; mu < p; mu += blockDim.x) sum += i64(m[row * p + mu]) * m[row * p + mu];
    __syncthreads();
    sum = block_sum(sum, partial);
    if (threadIdx.x == 0) forms[row * stride] = sum - diagonal;
  }
}

// The units of a block in the order in which their couplings are computed: first the `likely` ones.
struct Places {
  u32 mask[MASK];    // bits of the likely
  int before[MASK];  // those in the words before
  int likely;

  // By the whole block of threads, from bits in global memory.
  __device__ void read(const u32* bits) {
    int word = threadIdx.x;
    __syncthreads();
    if (word < MASK) mask[word] = __ldcg(bits + word);
    __syncthreads();
    if (word >= MASK) return;
    int sum = 0;
    for (int other = 0; other < word; other++) sum += __popc(mask[other]);
    before[word] = sum;
    if (word == MASK - 1) likely = sum + __popc(mask[word]);
  }
  __device__ int place(int i) const {
    u32 word = mask[i / 32];
    int earlier = before[i / 32] + __popc(word & ((1u << i % 32) - 1));
    return word >> i % 32 & 1 ? earlier : likely + i - earlier;
  }
};

// Adds the counts of common bits of the units at places known..end - 1 with all `count` chosen to rows 1 + place of
// gram (BLOCK + 1, BLOCK), zero before, and, if known is 0, the set bits of all chosen to its row 0.
__device__ __forceinline__ void block_couplings(const u64* units, const int* chosen, int count, const Places& places,
                                                int known, int end, int u, int* gram) {
  extern __shared__ __align__(16) unsigned char shared[];
  unsigned short* unit_at = reinterpret_cast<unsigned short*>(shared);
  constexpr int WIDTH = Tile<4>::COLUMNS;
  int down = (end - known + TILE - 2) / (TILE - 1), across = (count + WIDTH - 1) / WIDTH, tiles = down * across;
  // The words are cut into as many parts as let the grid end soonest, where a job begins and ends in the time of
  // ENDS stages: each lane tries a number.
  int parts = threadIdx.x % WARP + 1, chunks = (u + DEPTH - 1) / DEPTH;
  u32 rounds = (tiles * parts + gridDim.x - 1) / gridDim.x, stages = (chunks + parts - 1) / parts + ENDS;
  parts = __reduce_min_sync(ALL, rounds * stages * WARP + parts - 1) % WARP + 1;
  int words = (chunks + parts - 1) / parts * DEPTH;
  for (int job = blockIdx.x; job < tiles * parts; job += gridDim.x) {
    int top = known - 1 + job % tiles / across * (TILE - 1), left = job % tiles % across * WIDTH;
    int begin = job / tiles * words;
    if (begin >= u) break;
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += SWEEP_THREADS) unit_at[places.place(i)] = i;
    __syncthreads();
    Tile<4> counts;
    counts.count(
        reinterpret_cast<u64*>(shared), units + begin,
        [=](int r) { return u32(chosen[unit_at[min(max(top + r, 0), end - 1)]]); }, units + begin,
        [=](int c) { return u32(chosen[min(left + c, count - 1)]); }, u, min(words, u - begin), min(TILE, end - top),
        true);
    counts.halves(reinterpret_cast<u64*>(shared), min(TILE, end - top), [=](int first, int end, const int* both) {
      if (left + int(threadIdx.x) >= count) return;
      for (int r = top < 0 || first ? 0 : 1; r < end; r++)
        atomicAdd(gram + (top + first + r + 1) * BLOCK + left + threadIdx.x, both[r * Tile<4>::PITCH + threadIdx.x]);
    });
  }
}

// The `count` units chosen of one row, one after the other, from number *reached on, which moves on: to count, or to
// one that turns and whose place is not below `known`, for which the fields (BLOCK) are kept.  turned (BLOCK) has
// `turns` turns and gets more; their number.
//
// A thread keeps of its units the fields in the direction of the unit, below 0 where it wants to turn, and keys: twice
// the number, plus one if it turns to +1.
__device__ __forceinline__ int pass_block(const int* chosen, int count, const Places& places, int known, i64* fields,
                                          const int* gram, int p, u64* state, u32* turned, int turns, int* reached) {
  extern __shared__ __align__(16) unsigned char shared[];
  int2* place_and_ones = reinterpret_cast<int2*>(shared);  // (BLOCK) and twice the set bits of a unit
  __shared__ u32 partial[2][WARPS];
  int thread = threadIdx.x, before = turns, j = count;
  asm volatile("" : "+r"(thread));  // what follows from it shall not be kept while tiles need the registers
  i64 field[OWN];
  int twice[OWN], rest[OWN];  // the state, or 0 where there is no unit; p less twice the set bits
  u32 key[OWN], next = NONE, from = 2 * *reached;
#pragma unroll
  for (int e = OWN - 1; e >= 0; e--) {
    int i = thread + e * SWEEP_THREADS, ones = i < count ? 2 * __ldcg(gram + i) : 0;
    bool there = i < count, up = there && bit(state, chosen[i]);
    place_and_ones[i] = make_int2(places.place(i), ones);
    rest[e] = p - ones;
    twice[e] = there ? up ? 2 : -2 : 0;
    key[e] = 2 * i + !up;
    field[e] = there ? __ldcg(fields + i) : 0;
    if (!up) field[e] = -field[e];
    if (field[e] < 0 && key[e] >= from) next = key[e];
  }
  for (;; turns++) {
    next = __reduce_min_sync(ALL, next);
    if (thread % WARP == 0) partial[turns % 2][thread / WARP] = next;
    __syncthreads();
    u32 first = partial[turns % 2][0];
#pragma unroll
    for (int warp = 1; warp < WARPS; warp++) first = min(first, partial[turns % 2][warp]);
    if (first == NONE) break;
    int2 own = place_and_ones[first >> 1];
    if (own.x >= known) {
      j = int(first >> 1);
      break;
    }
    if (thread == 0) turned[turns] = first;
    int sign = first & 1 ? 1 : -1;
    const int* both = gram + (own.x + 1) * BLOCK + thread;
    next = NONE;
#pragma unroll
    for (int e = OWN - 1; e >= 0; e--) {
      int w = rest[e] - own.y + 4 * __ldcg(both + e * SWEEP_THREADS);
      field[e] += i64(w) * (sign * twice[e]);
      if (field[e] < 0 && key[e] > first) next = key[e];
    }
  }
  __syncthreads();
  for (int turn = before + thread; turn < turns; turn += SWEEP_THREADS) {
    i64 unit = chosen[turned[turn] >> 1];
    turned[turn] = u32(2 * unit) | (turned[turn] & 1);
    atomicXor(&state[unit >> 6], 1ull << (unit & 63));
  }
  if (thread == 0) *reached = j;
#pragma unroll
  for (int e = 0; e < OWN; e++)
    if (twice[e]) __stcg(fields + thread + e * SWEEP_THREADS, twice[e] > 0 ? field[e] : -field[e]);
  return turns;
}

// Asynchronous sweeps first..first + sweeps - 1 of the rows (k, b) still under way, or up to the last row's stop.
// order: sweep t takes row (t - base) % orders.  near: up to which field against its turn a unit is expected to turn.
// units (k, n, u); m (k b, p), planes (k b, 8 NT, u), totals (k b): of the states (k b, w).  Scratch: fields (b,
// BLOCK), turned (b, BLOCK), turns, reached (b); zero before: gram (BLOCK + 1, BLOCK), sweep_flips (k b), wanted (k,
// sweeps, blocks of units, WANTED): whether one wants to turn, whether one turned that was not expected to, bits of
// those expected to.  left (k): rows under way; remaining: networks.
template <int NT>
__global__ void __launch_bounds__(SWEEP_THREADS, 1)
    sweep_async(const int* order, i64 orders, i64 base, i64 first, i64 sweeps, i64 near, const u64* units, i64 k,
                i64 b, i64 n, i64 p, i64 u, i64 diagonal, u32* arrived, u32* wanted, i64* fields, int* gram,
                u32* turned, int* turns, int* reached, i64* sweep_flips, int* left, int* remaining, u64* states, int* m,
                u64* planes, u64* totals, bool* converged, int* swept, i64* flips, i64* forms, i64 recorded) {
  __shared__ Places places;
  if (*remaining == 0) return;
  Barrier barrier = {arrived, gridDim.x, 0};
  i64 w = (n + 63) / 64, blocks = (n + BLOCK - 1) / BLOCK;
  for (i64 network = 0; network < k; network++) {
    i64 rows = network * b;
    const u64* own_units = units + network * n * u;
    u64 *own_states = states + rows * w, *own_planes = planes + rows * 8 * NT * u, *own_totals = totals + rows;
    int* own_m = m + rows * p;
    auto active = [=](i64 row) { return !converged[rows + row]; };
    for (i64 sweep = 0; sweep < sweeps; sweep++) {
      if (__ldcg(left + network) == 0) break;
      const int* in_turn = order + (first + sweep - base) % orders * n;
      for (i64 block = 0; block < blocks; block++) {
        const int* chosen = in_turn + block * BLOCK;
        int count = int(min(i64(BLOCK), n - block * BLOCK));
        u32* want = wanted + ((network * sweeps + sweep) * blocks + block) * WANTED;
        for (int tile = blockIdx.x; 16 * tile < count; tile += gridDim.x)
          tile_fields<NT>(
              [=](int i) { return 16 * tile + i < count ? own_units + i64(chosen[16 * tile + i]) * u : nullptr; },
              own_planes, own_totals, b, u, active, [=](i64 row, int i, i64 sum) {
                if (16 * tile + i >= count) return;
                i += 16 * tile;
                int s = sign(own_states + row * w, chosen[i]);
                i64 field = sum - diagonal * s;
                __stcg(fields + row * BLOCK + i, field);
                if (field * s < 0) atomicOr(want, 1u);
                if (field * s < near) atomicOr(want + 2 + i / 32, 1u << i % 32);
              });
        barrier.wait();
        if (__ldcg(want) == 0) continue;
        places.read(want + 2);
        int known = 0;
        do {
          __syncthreads();
          int end = known ? count : places.likely;
          block_couplings(own_units, chosen, count, places, known, end, int(u), gram);
          barrier.wait();
          for (i64 row = blockIdx.x; row < b; row += gridDim.x) {
            if (threadIdx.x == 0 && known == 0) turns[row] = 0, reached[row] = active(row) ? 0 : count;
            __syncthreads();
            if (reached[row] == count) continue;
            int before = turns[row];
            int after = pass_block(chosen, count, places, end, fields + row * BLOCK, gram, int(p), own_states + row * w,
                                   turned + row * BLOCK, before, reached + row);
            __syncthreads();
            if (threadIdx.x == 0) {
              turns[row] = after;
              sweep_flips[rows + row] += after - before;
              if (reached[row] < count) atomicOr(want + 1, 1u);
            }
          }
          known = end;
          barrier.wait();
        } while (known < count && __ldcg(want + 1));
        for (i64 i = thread_number(); i < (known + 1) * BLOCK; i += thread_count()) gram[i] = 0;
        turn_overlaps<NT>([=](i64 row) { return __ldcg(turns + row); }, turned, BLOCK, own_units, b, p, u, own_m,
                          own_planes, own_totals);
        barrier.wait();
      }
      if (recorded)
        write_forms(own_m, b, p, diagonal * n, active, forms + rows * recorded + first + sweep + 1, recorded);
      barrier.wait();
      for (i64 row = thread_number(); row < b; row += thread_count()) {
        if (!active(row)) continue;
        i64 flipped = sweep_flips[rows + row];
        sweep_flips[rows + row] = 0;
        flips[rows + row] += flipped;
        swept[rows + row]++;
        if (flipped == 0) {
          converged[rows + row] = true;
          if (atomicSub(&left[network], 1) == 1) atomicSub(remaining, 1);
        }
      }
      barrier.wait();
    }
  }
}

// Synchronous steps first..first + sweeps - 1 of the rows (k, b) still under way.  Scratch: turned (b, n), turns,
// differing (b), zero before; before (b, w): the states of the step before.  The others as for sweep_async.
template <int NT>
__global__ void __launch_bounds__(SWEEP_THREADS, 1)
    sweep_sync(const u64* units, i64 first, i64 sweeps, i64 k, i64 b, i64 n, i64 p, i64 u, i64 diagonal, u32* arrived,
               u32* turned, int* turns, int* differing, u64* before, int* left, u64* states, int* m, u64* planes,
               u64* totals, int* period, int* swept, i64* flips, i64* forms, i64 recorded) {
  Barrier barrier = {arrived, gridDim.x, 0};
  i64 w = (n + 63) / 64, tiles = (n + 15) / 16;
  for (i64 network = 0; network < k; network++) {
    i64 rows = network * b;
    const u64* own_units = units + network * n * u;
    u64 *own_states = states + rows * w, *own_planes = planes + rows * 8 * NT * u, *own_totals = totals + rows;
    int* own_m = m + rows * p;
    auto active = [=](i64 row) { return period[rows + row] == 0; };
    for (i64 sweep = first; sweep < first + sweeps && __ldcg(left + network); sweep++) {
      for (i64 tile = blockIdx.x; tile < tiles; tile += gridDim.x)
        tile_fields<NT>(
            [=](int i) { return 16 * tile + i < n ? own_units + (16 * tile + i) * u : nullptr; }, own_planes,
            own_totals, b, u, active, [=](i64 row, int i, i64 sum) {
              i64 unit = 16 * tile + i;
              if (unit >= n) return;
              u64 *state = own_states + row * w, *old = before + row * w, one = 1ull << (unit & 63);
              // Of the same words others turn other bits.
              bool up = peek(state + (unit >> 6)) & one, was_up = peek(old + (unit >> 6)) & one;
              i64 field = sum - (up ? diagonal : -diagonal);
              bool turn = up ? field < 0 : field > 0;
              if (turn) {
                turned[row * n + atomicAdd(&turns[row], 1)] = u32(2 * unit + !up);
                atomicXor(&state[unit >> 6], one);
              }
              if ((up != turn) != was_up) atomicOr(&differing[row], 1);
              if (up != was_up) atomicXor(&old[unit >> 6], one);
            });
      barrier.wait();
      turn_overlaps<NT>([=](i64 row) { return active(row) ? __ldcg(turns + row) : 0; }, turned, n, own_units, b, p, u,
                        own_m, own_planes, own_totals);
      barrier.wait();
      if (recorded) write_forms(own_m, b, p, diagonal * n, active, forms + rows * recorded + sweep + 1, recorded);
      barrier.wait();
      for (i64 row = thread_number(); row < b; row += thread_count()) {
        if (!active(row)) continue;
        int flipped = turns[row];
        flips[rows + row] += flipped;
        swept[rows + row]++;
        period[rows + row] = flipped == 0 ? 1 : sweep && !differing[row] ? 2 : 0;
        turns[row] = differing[row] = 0;
        if (period[rows + row]) atomicSub(&left[network], 1);
      }
      barrier.wait();
    }
  }
}
