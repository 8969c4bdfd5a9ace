// The incremental capacity scan of many networks at once, on tensor cores.
//
// Adding pattern nu changes the field of unit i of memory mu, signed by the memory's own state and with the
// self-coupling in, by x_mu_i x_nu_i m_mu_nu: g_i(p) = n + x_mu_i sum_{nu < p, nu != mu} m_mu_nu x_nu_i.  Memory mu is
// stable at load p while g_i(p) >= p for all i, and flips of `corrupted` units change a field by at most
// 2 corrupted p.  The sums over 32 patterns at a time are products of bytes: overlaps in digits of base 128 times
// signs, P^2 n of them a digit for a network with P patterns.  Between two ends a, b of such a step a field cannot fall
// below (a + b - spread) / 2, spread the sum of the step's |m|; only where that is not above what could matter are the
// 32 loads looked at one by one, exactly, and only where a unit could really turn the wrong way is the recall itself
// run (resolve).  Nothing is approximated.
#include "descent.cuh"
#include "mma.cuh"

constexpr int SCAN_THREADS = 128;
constexpr int STEP = 32;      // patterns of a step, and units of a warp's tile
constexpr int MEMORIES = 16;  // memories of a warp's tile
constexpr int CERTIFIED = 8;  // corrupted units up to which a recall can be certified

// Whether memories are certified at loads of the step that ends with load `last`; else all that are stable are
// recalled, as where most would be, or where one sweep must do: it takes a second to see that nothing flips any more.
__device__ __forceinline__ bool certify(i64 corrupted, i64 max_sweeps, i64 last, i64 n) {
  return corrupted <= CERTIFIED && 4 * corrupted * last < n && (corrupted == 0 || max_sweeps > 1);
}

// digits (T, P / 16, P / 32, DIGITS, 32) of uint4: the overlaps gram (T, P, P) off the diagonal in digits of base 128, as
// the registers that lanes hold of 16 memories by 32 patterns; spread (T, P / 32, P): sums of |overlap| of each step.
template <int DIGITS>
__global__ void split_overlaps(const int* gram, i64 T, i64 P, uint4* digits, int* spread) {
  int lane = threadIdx.x % WARP, group = lane / 4, quad = lane % 4;
  i64 down = P / 16, across = P / 32;
  for (i64 job = thread_number() / WARP; job < T * down * across; job += thread_count() / WARP) {
    i64 trial = job / (down * across), row = job / across % down * 16, first = job % across * 32;
    u32 registers[DIGITS][4] = {};
    int sizes[2] = {};
#pragma unroll
    for (int r = 0; r < 4; r++)
#pragma unroll
      for (int j = 0; j < 4; j++) {
        i64 mu = row + group + 8 * (r & 1), nu = first + 4 * quad + 16 * (r >> 1) + j;
        int m = mu == nu ? 0 : gram[(trial * P + mu) * P + nu];
        sizes[r & 1] += abs(m);
#pragma unroll
        for (int d = 0; d < DIGITS; d++) {
          int digit = d == DIGITS - 1 ? m : ((m + 64) & 127) - 64;
          registers[d][r] |= u32(digit & 255) << 8 * j;
          m = (m - digit) / 128;
        }
      }
#pragma unroll
    for (int half = 0; half < 2; half++) {
      int size = sizes[half];
      size += __shfl_xor_sync(ALL, size, 1);
      size += __shfl_xor_sync(ALL, size, 2);
      if (quad == 0) spread[(trial * across + first / 32) * P + row + group + 8 * half] = size;
    }
#pragma unroll
    for (int d = 0; d < DIGITS; d++)
      digits[(job * DIGITS + d) * WARP + lane] =
          make_uint4(registers[d][0], registers[d][1], registers[d][2], registers[d][3]);
  }
}

// Four bits as four signed bytes: 1 as +1, 0 as -1.
__device__ __forceinline__ u32 sign_bytes(u32 nibble) {
  return ALL - (nibble * 0x00204081u & 0x01010101u) * 0xfeu;
}

// What the scan needs to judge one unit, and where it notes failures and doubts.
struct Scan {
  u64 key;
  const i64* trials;
  const int* gram;   // (T, P, P)
  const u64* units;  // (T, n, P / 64)
  i64 n, P, limit, corrupted, newest, largest, max_sweeps;
  int* failing;      // (T): the smallest load known to fail, limit + 1 at first
  u32* failed;       // (T, P / 32): all of them, load p as bit p - 1
  u32* doubtful;     // (T, P, P / 32): memories to be recalled at each load
};

__device__ __forceinline__ void fail(const Scan& scan, i64 trial, i64 p) {
  atomicMin(&scan.failing[trial], int(p));
  atomicOr(&scan.failed[trial * (scan.P / 32) + (p - 1) / 32], 1u << (p - 1) % 32);
}

// Whether flips of the units chosen for memory mu at load p could turn unit i the wrong way, or leave it so if it is
// flipped itself.  The choice is that of choose_units, a few units by one thread.
__device__ inline bool in_doubt(const Scan& scan, i64 trial, i64 mu, i64 i, i64 p, i64 margin) {
  i64 u = scan.P / 64;
  const u64* units = scan.units + trial * scan.n * u;
  PatternCoupling coupling = {units, u, p, 0};
  i64 chosen[CERTIFIED], change = 0;
  bool flipped = false;
#pragma unroll 1
  for (int c = 0; c < scan.corrupted; c++) {
    i64 last = scan.n - scan.corrupted + c;
    i64 unit = __umul64hi(draw(scan.key, c, mu, scan.trials[trial], tag(CORRUPT, p)), last + 1);
    bool taken = false;
#pragma unroll 1
    for (int earlier = 0; earlier < c; earlier++) taken |= chosen[earlier] == unit;
    chosen[c] = taken ? last : unit;
    if (chosen[c] == i)
      flipped = true;
    else {
      bool same = bit(units + chosen[c] * u, mu) == bit(units + i * u, mu);
      int w = coupling(i, chosen[c]);
      change += max(0, same ? w : -w);
    }
  }
  return margin < 2 * change || (flipped && margin <= 2 * change);
}

// Judges unit i of memory mu at the 32 loads after 32 step, a lane each.
__device__ inline void examine(const Scan& scan, i64 trial, i64 mu, i64 i, i64 step) {
  int lane = threadIdx.x % WARP, sum = 0, before = 0;
  i64 u = scan.P / 64, p = STEP * step + lane + 1;
  const u64* unit = scan.units + (trial * scan.n + i) * u;
  const int* overlaps = scan.gram + (trial * scan.P + mu) * scan.P;
  bool own = bit(unit, mu);
  for (i64 nu = lane; nu < p; nu += STEP) {
    before += sum;
    sum = nu == mu ? 0 : own == bool(bit(unit, nu)) ? overlaps[nu] : -overlaps[nu];
  }
  before = warp_sum(before);
  for (int distance = 1; distance < WARP; distance *= 2) {
    int earlier = __shfl_up_sync(ALL, sum, distance);
    if (lane >= distance) sum += earlier;
  }
  i64 margin = scan.n + before + sum - p;
  if (p <= mu || p > scan.limit || (scan.newest && p != mu + 1)) return;
  if (margin < 0)
    fail(scan, trial, p);
  else if (certify(scan.corrupted, scan.max_sweeps, min(STEP * (step + 1), scan.limit), scan.n) && margin <= 2 * scan.corrupted * p &&
           in_doubt(scan, trial, mu, i, p, margin))
    atomicOr(&scan.doubtful[((trial * scan.P + p - 1) * scan.P + mu) / 32], 1u << mu % 32);
}

// A warp follows the fields of 32 units of 16 memories through all loads; digits, spread as split_overlaps leaves them.
// first_block: the number of this launch's first block among those of all.
template <int DIGITS>
__global__ void __launch_bounds__(SCAN_THREADS, 6 - DIGITS)
    scan(u64 key, const i64* trials, const uint4* digits, const int* spread, const int* gram, const u64* units, i64 T,
         i64 n, i64 P, i64 limit, i64 corrupted, i64 newest, i64 largest, i64 max_sweeps, i64 first_block, int* failing,
         u32* failed, u32* doubtful) {
  constexpr int WARPS = SCAN_THREADS / WARP;
  int lane = threadIdx.x % WARP, group = lane / 4, quad = lane % 4;
  i64 across = (n + STEP * WARPS - 1) / (STEP * WARPS), steps = P / STEP, u = P / 64;
  i64 block = first_block + blockIdx.x, down = P / MEMORIES, trial = block / (across * down);
  i64 memory = block / across % down * MEMORIES, first = (block % across * WARPS + threadIdx.x / WARP) * STEP;
  if (first >= n || memory >= limit) return;
  Scan judge = {key, trials, gram, units, n, P, limit, corrupted, newest, largest, max_sweeps,
                failing, failed, doubtful};
  const u32* halves = reinterpret_cast<const u32*>(units + trial * n * u);

  // An element e of a lane: memory group + 8 (e / 8), unit 2 quad + e % 2 + 8 (e / 2 % 4) of the warp's own.
  u32 own = 0;
#pragma unroll
  for (int e = 0; e < 8; e++) {
    i64 i = first + 2 * quad + e % 2 + 8 * (e / 2);
    u32 word = i < n ? halves[i * 2 * u + memory / STEP] >> memory % STEP : 0;
    own |= (word >> group & 1) << e | (word >> (group + 8) & 1) << (8 + e);
  }

  int acc[4][DIGITS][4] = {}, before[16] = {};
  i64 birth = memory / STEP, end = newest ? birth + 1 : (limit + STEP - 1) / STEP;
  for (i64 step = 0; step < end; step++) {
    // One answer for the warp: lanes may read a number that another block changes meanwhile.
    if (!largest && __any_sync(ALL, STEP * step + 1 >= peek(failing + trial))) break;
    u32 b[4][2];
#pragma unroll
    for (int j = 0; j < 4; j++) {
      i64 i = first + 8 * j + group;
      u32 word = i < n ? __ldg(halves + i * 2 * u + step) : 0;
      b[j][0] = sign_bytes(word >> 4 * quad & 15);
      b[j][1] = sign_bytes(word >> (16 + 4 * quad) & 15);
    }
#pragma unroll
    for (int d = 0; d < DIGITS; d++) {
      i64 tile = (trial * down + memory / MEMORIES) * steps + step;
      uint4 four = __ldg(digits + (tile * DIGITS + d) * WARP + lane);
      u32 a[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int j = 0; j < 4; j++) mma_bytes(acc[j][d], a, b[j]);
    }
    if (step + 1 < birth) continue;

    i64 last = min(STEP * (step + 1), limit);
    i64 reach = (1 + (certify(corrupted, max_sweeps, last, n) ? 2 * corrupted : 0)) * last;
    u32 near = 0;
#pragma unroll
    for (int row = 0; row < 2; row++) {
      // x (a + b) + 2 n <= 2 reach + spread, the bound of a field between the ends a and b of this step.
      i64 mu = memory + group + 8 * row;
      i64 bound = 2 * reach + __ldg(spread + (trial * steps + step) * P + mu) - 2 * n;
      int below = int(max(min(bound, i64(0x7fffffff)), -i64(0x7fffffff)));
#pragma unroll
      for (int e = 8 * row; e < 8 * row + 8; e++) {
        const auto& digit = acc[e / 2 % 4];
        int c = 2 * row + e % 2, sum = digit[DIGITS - 1][c];
#pragma unroll
        for (int d = DIGITS - 2; d >= 0; d--) sum = 128 * sum + digit[d][c];
        int both = before[e] + sum;
        before[e] = sum;
        near |= u32((own >> e & 1 ? both : -both) <= below) << e;
      }
    }
    if (step < birth) continue;
    for (u32 lanes = __ballot_sync(ALL, near != 0); lanes; lanes &= lanes - 1) {
      int source = __ffs(int(lanes)) - 1;
      for (u32 elements = __shfl_sync(ALL, near, source); elements; elements &= elements - 1) {
        int e = __ffs(int(elements)) - 1;
        i64 i = first + 2 * (source % 4) + e % 2 + 8 * (e / 2 % 4);
        if (i < n) examine(judge, trial, memory + source / 4 + 8 * (e / 8), i, step);
      }
    }
  }
}

// Whether memory mu of a trial, with its corrupted units flipped, comes to rest at itself at load p; by a block.
// row, m (p), flipped (w): its memory.
template <class F>
__device__ bool returns(const Scan& scan, const u64* packed, i64 trial, i64 mu, i64 p, i64 synchronous,
                        const Row<F>& row, int* m, u64* flipped) {
  __shared__ Turn turns[2][WARP];
  __shared__ int count;
  i64 n = scan.n, u = scan.P / 64, w = (n + 63) / 64, network = scan.trials[trial];
  const u64 *units = scan.units + trial * n * u, *stored = packed + trial * scan.P * w, *memory = stored + mu * w;
  int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
  __syncthreads();
  for (i64 word = threadIdx.x; word < w; word += blockDim.x) flipped[word] = 0;
  __syncthreads();
  if (threadIdx.x < WARP) choose_units(scan.key, mu, network, p, scan.corrupted, n, flipped);
  __syncthreads();
  for (i64 nu = threadIdx.x / WARP; nu < p; nu += warps) {
    int differing = 0;
    for (i64 word = lane; word < w; word += WARP)
      differing += __popcll(stored[nu * w + word] ^ memory[word] ^ flipped[word]);
    differing = warp_sum(differing);
    if (lane == 0) m[nu] = int(n) - 2 * differing;
  }
  __syncthreads();
  for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
    int s = sign(memory, i) * (bit(flipped, i) ? -1 : 1);
    F field = -F(p) * s;
    u64 word = 0;
    for (i64 nu = 0; nu < p; nu++) {
      if (nu % 64 == 0) word = units[i * u + nu / 64];
      field += word >> (nu & 63) & 1 ? m[nu] : -m[nu];
    }
    row.fields[i] = field;
    row.s[i] = row.before[i] = static_cast<signed char>(s);
  }
  PatternCoupling coupling = {units, u, p, 0};
  for (i64 sweep = 0; sweep < scan.max_sweeps; sweep++) {
    i64 flips;
    bool back;
    __syncthreads();
    if (synchronous)
      flips = step_row(coupling, n, row, &count, back);
    else {
      draw_keys(scan.key, sweep, network, p, n, row.keys);
      flips = sweep_row(coupling, n, row, turns);
    }
    if (flips == 0) {
      bool same = true;
      for (i64 i = threadIdx.x; i < n; i += blockDim.x) same &= row.s[i] == sign(memory, i);
      return __syncthreads_and(same);
    }
  }
  return false;
}

// Recalls what the scan left in doubt: a block takes one load of one trial after another, small loads first, from the
// counter `next` (zero before the first launch), up to `turns` of them.  packed (T, P, w).  bytes of memory a block: a
// row's, m and flipped.
template <class F>
__global__ void __launch_bounds__(256, 2)
    resolve(u64 key, const i64* trials, const u64* packed, const int* gram, const u64* units, i64 T, i64 n, i64 P,
            i64 limit, i64 corrupted, i64 newest, i64 largest, i64 max_sweeps, i64 synchronous, u64* next, i64 turns,
            unsigned char* scratch, i64 bytes, int* failing, u32* failed, u32* doubtful) {
  __shared__ i64 taken;
  Scan scan = {key, trials, gram, units, n, P, limit, corrupted, newest, largest, max_sweeps,
               failing, failed, doubtful};
  unsigned char* memory = own_memory(scratch, bytes);
  u64* flipped = reinterpret_cast<u64*>(memory);
  int* m = reinterpret_cast<int*>(flipped + (n + 63) / 64);
  Row<F> row = row_in<F>(reinterpret_cast<unsigned char*>(m + P), n);
  for (i64 turn = 0; turn < turns; turn++) {
    __syncthreads();
    if (threadIdx.x == 0) {
      i64 job = atomicAdd(next, 1ull);
      // Loads at or above one that fails do not count, or are known to fail.
      for (; job < T * limit; job = atomicAdd(next, 1ull)) {
        i64 trial = job % T, p = job / T + 1;
        bool known = peek(failed + trial * (P / 32) + (p - 1) / 32) >> (p - 1) % 32 & 1;
        if (largest ? !known : p < peek(failing + trial)) break;
      }
      taken = job;
    }
    __syncthreads();
    if (taken >= T * limit) return;
    i64 trial = taken % T, p = taken / T + 1;
    bool certified = certify(corrupted, max_sweeps, min((p + STEP - 1) / STEP * STEP, limit), n), passes = true;
    for (i64 word = newest ? (p - 1) / 32 : 0; word < (p + 31) / 32 && passes; word++) {
      u32 memories = certified ? doubtful[(trial * P + p - 1) * (P / 32) + word] : u32(mask_below(p - 32 * word, 0));
      if (newest) memories &= 1u << (p - 1) % 32;
      while (memories && passes) {
        i64 mu = 32 * word + __ffs(int(memories)) - 1;
        memories &= memories - 1;
        passes = returns(scan, packed, trial, mu, p, synchronous, row, m, flipped);
      }
    }
    if (!passes && threadIdx.x == 0) fail(scan, trial, p);
  }
}

// counts, censored (T) from the loads that fail.
__global__ void count_loads(const int* failing, const u32* failed, i64 T, i64 P, i64 limit, i64 largest, i64* counts,
                            bool* censored) {
  for (i64 trial = thread_number(); trial < T; trial += thread_count()) {
    i64 p = failing[trial] - 1;
    if (largest)
      for (p = limit; p && failed[trial * (P / 32) + (p - 1) / 32] >> (p - 1) % 32 & 1;) p--;
    counts[trial] = p;
    censored[trial] = p == limit;
  }
}
