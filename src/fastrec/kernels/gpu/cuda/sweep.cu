// Exact recall of large networks in pattern space, by the whole grid, without couplings.
//
// The state of a row is also kept as its overlaps with the patterns.  A sweep takes the units in blocks of BLOCK
// (blocked Gauss-Seidel): the fields of a block from the overlaps, one product of bits; if none of them wants to
// flip, the block is done, for nothing changes.  Else the couplings inside the block, one more product, then the
// units one after the other by a block of threads a row, and the overlaps of what has flipped.  For n units, p
// patterns and f flips a sweep reads n p / 8 bytes of units, 4 p bytes of planes for each 16 units of a row, counts
// n p times the planes and, where there are flips, n p BLOCK / 2 products of bits, and takes f steps of about a
// microsecond; a block of units without flips costs one barrier.
#include "barrier.cuh"
#include "fields.cuh"
#include "tile.cuh"

constexpr int BLOCK = 2048;                   // units of a block: 16 for every multiprocessor of a large card
constexpr int OWN = BLOCK / TILE_THREADS;     // units of a thread in the sequential pass
constexpr int GROUP = 32;                     // rows whose fields a block of threads sums at once
constexpr u32 NONE = ~0u;

// The fields of the 16 units whose rows unit(i) names, of each row of b that is under way: out(row, i, sum), the
// field with the self-coupling in.  The warps share rows, and the patterns where there are fewer rows than warps.
template <int NT, class Unit, class Active, class Out>
__device__ __forceinline__ void tile_fields(Unit unit, const u64* planes, const u64* totals, i64 b, i64 u,
                                            Active active, Out out) {
  extern __shared__ __align__(16) unsigned char shared[];
  u64* sums = reinterpret_cast<u64*>(shared);  // (GROUP, 16)
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = TILE_THREADS / WARP;
  for (i64 first = 0; first < b; first += GROUP) {
    int rows = int(min(i64(GROUP), b - first)), slices = rows < warps ? warps / rows : 1;
    i64 part = (u + 4 * slices - 1) / (4 * slices) * 4;  // words of a slice
    __syncthreads();
    for (int i = threadIdx.x; i < rows * 16; i += TILE_THREADS) sums[i] = 0;
    __syncthreads();
    for (int job = warp; job < rows * slices; job += warps) {
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
    for (int i = threadIdx.x; i < rows * 16; i += TILE_THREADS)
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

// The couplings between the `count` units chosen, into gram (BLOCK, BLOCK).
__device__ __forceinline__ void block_couplings(const u64* units, const int* ones, const int* chosen, int count, i64 p,
                                                i64 u, int* gram) {
  extern __shared__ __align__(16) unsigned char shared[];
  int across = (count + TILE - 1) / TILE;
  for (int job = blockIdx.x; job < across * across; job += gridDim.x) {
    int top = job / across * TILE, left = job % across * TILE;
    if (left > top) continue;
    auto row = [=](int first) {
      return [=](int i) { return first + i < count ? units + i64(chosen[first + i]) * u : nullptr; };
    };
    __syncthreads();
    tile_product(reinterpret_cast<u64*>(shared), row(top), row(left), int(u), [=](int r, int c, int first, int second) {
      int i = top + r, j = left + c;
      if (i >= count) return;
      for (int next = 0; next < 2 && j + next < count; next++) {
        int w = int(p) - 2 * (ones[chosen[i]] + ones[chosen[j + next]]) + 4 * (next ? second : first);
        gram[i * BLOCK + j + next] = w;
        if (left != top) gram[(j + next) * BLOCK + i] = w;
      }
    });
  }
}

// The `count` units chosen of one row, one after the other: fields (BLOCK), their couplings gram.  turned (BLOCK) gets
// the turns; their number.
__device__ __forceinline__ int pass_block(const int* chosen, int count, const i64* fields, const int* gram, u64* state,
                                          u32* turned) {
  __shared__ u32 partial[2][WARP];
  i64 h[OWN];
  u32 up = 0;
  u32 next = NONE;
#pragma unroll
  for (int e = 0; e < OWN; e++) {
    int i = threadIdx.x + e * TILE_THREADS;
    h[e] = i < count ? __ldcg(fields + i) : 0;
    int s = i < count ? bit(state, chosen[i]) : 0;
    up |= u32(s) << e;
    if (s ? h[e] < 0 : h[e] > 0) next = min(next, u32(2 * i + !s));
  }
  __syncthreads();
  for (int turns = 0;; turns++) {
    u32 first = __reduce_min_sync(ALL, next);
    if (threadIdx.x % WARP == 0) partial[turns % 2][threadIdx.x / WARP] = first;
    __syncthreads();
    first = partial[turns % 2][0];
    for (int warp = 1; warp < TILE_THREADS / WARP; warp++) first = min(first, partial[turns % 2][warp]);
    int j = int(first >> 1);
    if (first == NONE) return turns;
    if (threadIdx.x == j % TILE_THREADS) {
      i64 unit = chosen[j];
      turned[turns] = u32(2 * unit + (first & 1));
      atomicXor(&state[unit >> 6], 1ull << (unit & 63));
    }
    next = NONE;
#pragma unroll
    for (int e = 0; e < OWN; e++) {
      int i = threadIdx.x + e * TILE_THREADS;
      if (i <= j || i >= count) continue;
      i64 w = 2 * i64(__ldcg(gram + i64(j) * BLOCK + i));
      h[e] += first & 1 ? w : -w;
      bool s = up >> e & 1;
      if (s ? h[e] < 0 : h[e] > 0) next = min(next, u32(2 * i + !s));
    }
  }
}

// Asynchronous sweeps first..first + sweeps - 1 of the rows (k, b) still under way, or up to the last row's stop.
// order: sweep t takes row (t - base) % orders.  units (k, n, u), ones (k, n); m (k b, p), planes (k b, 8 NT, u), totals
// (k b): of the states (k b, w).  Scratch: fields (b, BLOCK), gram (BLOCK, BLOCK), turned (b, BLOCK), turns (b),
// sweep_flips (k b) zero, wanted (k, sweeps, blocks of units) zero.  left (k): rows under way; remaining: networks.
template <int NT>
__global__ void __launch_bounds__(TILE_THREADS, 1)
    sweep_async(const int* order, i64 orders, i64 base, i64 first, i64 sweeps, const u64* units, const int* ones,
                i64 k, i64 b, i64 n, i64 p, i64 u, i64 diagonal, u32* arrived, int* wanted, i64* fields, int* gram,
                u32* turned, int* turns, i64* sweep_flips, int* left, int* remaining, u64* states, int* m, u64* planes,
                u64* totals, bool* converged, int* swept, i64* flips, i64* forms, i64 recorded) {
  if (*remaining == 0) return;
  Barrier barrier = {arrived, gridDim.x, 0};
  i64 w = (n + 63) / 64, blocks = (n + BLOCK - 1) / BLOCK;
  for (i64 network = 0; network < k; network++) {
    i64 rows = network * b;
    const u64* own_units = units + network * n * u;
    const int* own_ones = ones + network * n;
    u64 *own_states = states + rows * w, *own_planes = planes + rows * 8 * NT * u, *own_totals = totals + rows;
    int* own_m = m + rows * p;
    auto active = [=](i64 row) { return !converged[rows + row]; };
    for (i64 sweep = 0; sweep < sweeps; sweep++) {
      if (__ldcg(left + network) == 0) break;
      const int* in_turn = order + (first + sweep - base) % orders * n;
      for (i64 block = 0; block < blocks; block++) {
        const int* chosen = in_turn + block * BLOCK;
        int count = int(min(i64(BLOCK), n - block * BLOCK));
        int* want = wanted + (network * sweeps + sweep) * blocks + block;
        for (int tile = blockIdx.x; 16 * tile < count; tile += gridDim.x)
          tile_fields<NT>(
              [=](int i) { return 16 * tile + i < count ? own_units + i64(chosen[16 * tile + i]) * u : nullptr; },
              own_planes, own_totals, b, u, active, [=](i64 row, int i, i64 sum) {
                if (16 * tile + i >= count) return;
                int s = sign(own_states + row * w, chosen[16 * tile + i]);
                i64 field = sum - diagonal * s;
                __stcg(fields + row * BLOCK + 16 * tile + i, field);
                if (field * s < 0) atomicOr(want, 1);
              });
        barrier.wait();
        if (__ldcg(want) == 0) continue;
        block_couplings(own_units, own_ones, chosen, count, p, u, gram);
        barrier.wait();
        for (i64 row = blockIdx.x; row < b; row += gridDim.x) {
          int turned_now = active(row) ? pass_block(chosen, count, fields + row * BLOCK, gram, own_states + row * w,
                                                    turned + row * BLOCK)
                                       : 0;
          __syncthreads();
          if (threadIdx.x == 0) {
            turns[row] = turned_now;
            sweep_flips[rows + row] += turned_now;
          }
        }
        barrier.wait();
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
__global__ void __launch_bounds__(TILE_THREADS, 1)
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
