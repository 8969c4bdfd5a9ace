// The incremental capacity scan of many networks at once, on tensor cores.
//
// Adding pattern nu changes the field of unit i of memory mu, signed by the memory's own state and with the
// self-coupling in, by x_mu_i x_nu_i m_mu_nu: g_i(p) = n + x_mu_i sum_{nu < p, nu != mu} m_mu_nu x_nu_i.  Memory mu is
// stable at load p while g_i(p) >= p for all i, and flips of `corrupted` units change a field by at most
// 2 corrupted p.
//
// An overlap m is 2^shift d + r with a digit d of 8 bits, as on the CPU (docs/explanation/scan.md).  Sums of digits
// over the patterns in which a unit is up are products of bytes: P^2 n of them for a network with P patterns.  What
// the rests r contribute is bounded by E, the sum of |r|.  Sums are looked at after every `apart` patterns, and each
// look speaks for the loads up to halfway to its neighbours, where no field is further away than the sum of |m| in
// between.  Only units whose fields may be small at one of these loads are looked at load by load, exactly, and only
// where a unit could really turn the wrong way is the recall itself run (resolve).  Nothing is approximated.
//
// Patterns, units and tiles of all trials are numbered in 32 bits: a tile takes 384 bytes with the patterns it is of,
// and no device has the memory for 2^31 of them.  Places in arrays have 64 bits.
#include "descent.cuh"
#include "mma.cuh"

inline constexpr int SCAN_THREADS = 128;
inline constexpr int STEP = 32;      // patterns of a step, and units and memories of a warp's tile
inline constexpr int NEAREST = 16;   // patterns between looks at least
inline constexpr int PART = 8;       // patterns whose sums are kept
inline constexpr int CERTIFIED = 8;  // corrupted units up to which a recall can be certified

// Steps in a turn of the loop: what is fetched for the next one then stays where it is, if there are registers enough.
#if __CUDA_ARCH__ >= 900
inline constexpr int STEPS_A_TURN = 2;
#else
inline constexpr int STEPS_A_TURN = 1;
#endif

// What is summed over PART patterns of a memory.
enum Sum { SIZES, DIGITS, RESTS, SUMS };

// Bounds that say that no unit can be near, and that all must be looked at; see bound_fields.
inline constexpr int FAR = 1 << 30;
inline constexpr u64 NEVER = u64(0x7fffffffu) << 32 | u32(FAR), ALWAYS = u64(0x80000000u) << 32 | u32(-FAR);

// After how many patterns sums are looked at: after none, then every 128 of them up to a, 64 up to b, 32 up to c,
// NEAREST up to d, and 64 from there on.  A look speaks for the loads up to halfway to its neighbours.
struct Looks {
  int a, b, c, d;
  __device__ int apart(int at) const { return at < a ? 128 : at < b ? 64 : at < c ? 32 : at < d ? NEAREST : 64; }
};

// The overlaps gram (T, P, P) off the diagonal in digits (T, P / 32, P / 32, 2, 32) of uint4, as the registers that
// lanes hold of 2 x 16 memories by 32 patterns; sums (SUMS, T, P / PART, P): of |overlaps|, digits and |rests|.
__global__ void split_overlaps(const int* gram, i64 T, i64 P, i64 shift, uint4* digits, int* sums) {
  int lane = threadIdx.x % WARP, group = lane / 4, quad = lane % 4;
  int places = int(shift), half = 1 << places >> 1;
  u32 across = u32(P) / STEP, down = 2 * across, jobs = u32(T) * down * across;
  for (u32 job = thread_number() / WARP; job < jobs; job += thread_count() / WARP) {
    u32 rows = job / across, row = rows % down * 16, first = job % across * STEP;
    i64 trial = rows / down;
    u32 registers[4] = {};
#pragma unroll
    for (int r = 0; r < 4; r++) {
      int mu = row + group + 8 * (r & 1), begin = first + 16 * (r >> 1), nu = begin + 4 * quad, sum[SUMS] = {};
      uint4 four = *reinterpret_cast<const uint4*>(gram + (trial * P + mu) * P + nu);
      int m[4] = {int(four.x), int(four.y), int(four.z), int(four.w)};
#pragma unroll
      for (int j = 0; j < 4; j++) {
        if (mu == nu + j) m[j] = 0;
        int digit = max(-127, min(127, (m[j] + half) >> places));
        registers[r] |= u32(digit & 255) << 8 * j;
        sum[SIZES] += abs(m[j]);
        sum[DIGITS] += digit;
        sum[RESTS] += abs(m[j] - (digit << places));
      }
      int* out = sums + (trial * (P / PART) + begin / PART + quad / 2) * P + mu;
#pragma unroll
      for (int s = 0; s < SUMS; s++) {
        sum[s] += __shfl_xor_sync(ALL, sum[s], 1);
        if (quad % 2 == 0) out[s * T * (P / PART) * P] = sum[s];
      }
    }
    i64 tile = (trial * across + row / STEP) * across + first / STEP;
    digits[(2 * tile + row / 16 % 2) * WARP + lane] =
        make_uint4(registers[0], registers[1], registers[2], registers[3]);
  }
}

// bits (T, ceil(n / 32), P / 32, 32): of 32 units in 32 patterns, in the words of their lanes, so that shifts and a
// mask leave the bytes of an operand: bit 8 t + 2 j + half is that of unit 8 j + group in pattern 16 half + 4 quad + t.
__global__ void arrange_units(const u64* units, i64 T, i64 n, i64 P, u32* bits) {
  int lane = threadIdx.x % WARP, group = lane / 4, quad = lane % 4;
  u32 tiles = u32(n + STEP - 1) / STEP, steps = u32(P) / STEP, jobs = u32(T) * tiles * steps;
  const u32* halves = reinterpret_cast<const u32*>(units);
  for (u32 job = thread_number() / WARP; job < jobs; job += thread_count() / WARP) {
    u32 rows = job / steps, step = job % steps, first = rows % tiles * STEP;
    i64 trial = rows / tiles;
    u32 own = 0;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      u32 i = first + 8 * j + group;
      u32 word = i < u32(n) ? halves[(trial * n + i) * steps + step] : 0;
#pragma unroll
      for (int half = 0; half < 2; half++) {
        u32 four = word >> (16 * half + 4 * quad) & 15;
        own |= (four * 0x00204081u & 0x01010101u) << (2 * j + half);
      }
    }
    bits[i64(job) * WARP + lane] = own;
  }
}

// The bounds (T, P / NEAREST + 1, P) of looks after so many times NEAREST patterns, as center | width << 32.  With the
// sum A of digits over the patterns in which a unit is up, the unit is near, that is its field may be small, where
// z = A + center < 0 if the memory has it up, or z >= width if it has it down.  It is neither if z, unsigned, is below
// width.
//
// With D the sum of all digits, 2^shift (2 A - D) is the change of a field but for its rests.  What matters at the
// loads of a look is a field up to `reach` there: of p, or of (1 + 2 corrupted) p up to load `certain`.
__global__ void bound_fields(const int* sums, i64 T, i64 n, i64 P, i64 shift, i64 limit, i64 corrupted, i64 newest,
                             i64 certain, i64 a, i64 b, i64 c, i64 d, u64* bounds) {
  Looks looks = {int(a), int(b), int(c), int(d)};
  i64 parts = P / PART;
  auto reach = [=](int p) { return max(i64(p), (1 + 2 * corrupted) * min(i64(p), certain)); };
  for (i64 index = thread_number(); index < T * P; index += thread_count()) {
    i64 trial = index / P, mu = index % P, digits = 0, rests = 0;
    int done = 0;
    for (int at = 0, begin = 0; begin < limit;) {
      auto add_until = [&](int end) {
        i64 size = 0;
        for (; done < end; done += PART) {
          auto sum = [=](int kind) { return sums[((kind * T + trial) * parts + done / PART) * P + mu]; };
          size += sum(SIZES);
          digits += sum(DIGITS);
          rests += sum(RESTS);
        }
        return size;
      };
      int until = int(min(i64(at + looks.apart(at) / 2), limit));
      i64 lost = add_until(at) + reach(at), known = digits, off = rests;
      lost = max(lost, add_until(until) + reach(until));
      // x (2 A - D) <= height where the field can be that small.
      i64 height = (lost + off - n) >> shift, up = (height + known) >> 1, down = (known - height + 1) >> 1;
      bool probed = newest ? begin <= mu && mu < until : mu < until;
      u64 bound = u64(u32(down - up - 1)) << 32 | u32(-up - 1);
      bounds[(trial * (P / NEAREST + 1) + at / NEAREST) * P + mu] =
          !probed || mu >= limit ? NEVER : down <= up ? ALWAYS : bound;
      begin = until;
      at += looks.apart(at);
    }
  }
}

// What the scan needs to judge one unit, and where it notes failures and doubts.
struct Scan {
  u64 key;
  const i64* trials;
  const int* gram;   // (T, P, P)
  const u64* units;  // (T, n, P / 64)
  i64 n, P, limit, corrupted, newest, largest;
  i64 certain;     // the largest load at which memories are certified; at others all that are stable are recalled
  int* failing;    // (T): the smallest load known to fail, limit + 1 at first
  u32* failed;     // (T, P / 32): all of them, load p as bit p - 1
  u32* doubtful;   // (T, P, P / 32): memories to be recalled at each load
};

__device__ __forceinline__ void fail(const Scan& scan, i64 trial, i64 p) {
  atomicMin(&scan.failing[trial], int(p));
  atomicOr(&scan.failed[trial * (scan.P / 32) + (p - 1) / 32], 1u << (p - 1) % 32);
}

// Whether flips of the units chosen for memory mu at load p could turn unit i the wrong way, or leave it so if it is
// flipped itself.  The choice is that of choose_units, a few units by one thread.
__device__ inline bool in_doubt(const Scan& scan, i64 trial, int mu, int i, int p, i64 margin) {
  i64 u = scan.P / 64;
  const u64* units = scan.units + trial * scan.n * u;
  PatternCoupling coupling = {units, u, p, 0};
  int chosen[CERTIFIED], change = 0;
  bool flipped = false;
#pragma unroll 1
  for (int c = 0; c < scan.corrupted; c++) {
    int last = int(scan.n - scan.corrupted) + c;
    int unit = __umul64hi(draw(scan.key, c, mu, scan.trials[trial], tag(CORRUPT, p)), last + 1);
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

// Judges unit i of memory mu at the loads after `first` up to `last`, a lane each.
__device__ inline void examine(const Scan& scan, i64 trial, int mu, int i, int first, int last) {
  int lane = threadIdx.x % WARP;
  i64 field = 0;
  const u32* unit = reinterpret_cast<const u32*>(scan.units) + (trial * scan.n + i) * (scan.P / 32);
  const int* overlaps = scan.gram + (trial * scan.P + mu) * scan.P;
  auto up = [=](int nu) { return bool(unit[nu / 32] >> nu % 32 & 1); };
  bool own = up(mu);
  auto term = [=](int nu) { return nu == mu ? 0 : own == up(nu) ? overlaps[nu] : -overlaps[nu]; };
  first = max(first, mu);  // it is probed from load mu + 1 on
  if (scan.newest) last = min(last, mu + 1);
  for (int nu = lane; nu < first; nu += WARP) field += term(nu);
  field = scan.n + warp_sum(field);
  for (; first < last; first += WARP) {
    int p = first + lane + 1;
    i64 sum = p <= last ? term(p - 1) : 0;
    for (int distance = 1; distance < WARP; distance *= 2) {
      i64 earlier = __shfl_up_sync(ALL, sum, distance);
      if (lane >= distance) sum += earlier;
    }
    i64 margin = field + sum - p;
    field += __shfl_sync(ALL, sum, WARP - 1);
    if (p > last) continue;
    if (margin < 0)
      fail(scan, trial, p);
    else if (p <= scan.certain && margin <= 2 * scan.corrupted * p && in_doubt(scan, trial, mu, i, p, margin))
      atomicOr(&scan.doubtful[((trial * scan.P + p - 1) * scan.P + mu) / 32], 1u << mu % 32);
  }
}

// A warp follows the fields of 32 units of 32 memories through all loads; digits, bits and bounds as the kernels above
// leave them.  first_block: the number of this launch's first block among those of all.
__global__ void __launch_bounds__(SCAN_THREADS, 4)
    scan(u64 key, const i64* trials, const uint4* digits, const u32* bits, const u64* bounds, const u64* packed,
         const int* gram, const u64* units, i64 n, i64 P, i64 limit, i64 corrupted, i64 newest, i64 largest,
         i64 certain, i64 a, i64 b, i64 c, i64 d, i64 first_block, int* failing, u32* failed, u32* doubtful) {
  constexpr int WARPS = SCAN_THREADS / WARP;
  int lane = threadIdx.x % WARP, group = lane / 4, quad = lane % 4;
  int loads = int(limit), steps = int(P) / STEP, tiles = int(n + STEP - 1) / STEP, across = (tiles + WARPS - 1) / WARPS;
  u32 block = u32(first_block) + blockIdx.x, rows = block / across;
  int tile = block % across * WARPS + threadIdx.x / WARP, row = rows % steps, first = STEP * tile, memory = STEP * row;
  i64 trial = rows / steps;
  if (tile >= tiles || memory >= loads) return;
  Looks looks = {int(a), int(b), int(c), int(d)};
  const uint4* digit = digits + (trial * steps + row) * steps * 2 * WARP + lane;
  const u32* word = bits + (trial * tiles + tile) * steps * WARP + lane;
  const u64* bound = bounds + trial * (2 * steps + 1) * P + memory + group;
  int words = 2 * ((tiles + 1) / 2);
  const u32* stored = reinterpret_cast<const u32*>(packed) + (trial * P + memory + group) * words + tile;

  // Of a lane: memories group + 8 half + 16 r, units 2 quad + next + 8 j, as acc[r][j][2 half + next].
  int acc[2][4][4] = {};
  uint4 low, high;
  u32 ups;
  auto fetch = [&] {
    low = __ldg(digit);
    high = __ldg(digit + WARP);
    ups = __ldg(word);
  };
  // Adds the products of a step, or of the half of it that the mask leaves.
  auto add = [&](u32 mask, bool whole) {
    u32 a[2][4] = {{low.x, low.y, low.z, low.w}, {high.x, high.y, high.z, high.w}}, b[4][2], used = ups & mask;
    if (whole) {
      digit += 2 * WARP;
      word += WARP;
      fetch();
    }
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
      for (int half = 0; half < 2; half++) b[j][half] = used >> (2 * j + half) & 0x01010101u;
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
      for (int j = 0; j < 4; j++) mma_bytes(acc[r][j], a[r], b[j]);
  };
  fetch();
  // From the look on that speaks for the load at which the first memory is stored.
  int apart = looks.apart(memory), at = (memory + apart / 2) & -apart, done = 0, begin = memory;
  while (begin < loads) {
    // One answer for the warp: lanes may read a number that another block changes meanwhile.
    if (!int(largest) && __any_sync(ALL, begin + 1 >= peek(failing + trial))) return;
    if (done % STEP && done < at) {
      add(0xaaaaaaaau, true);
      done += STEP / 2;
    }
#pragma unroll STEPS_A_TURN
    for (; done + STEP <= at; done += STEP) add(ALL, true);
    if (done < at) {
      add(0x55555555u, false);
      done = at;
    }
    apart = looks.apart(at);
    int until = min(at + apart / 2, loads);
    const u64* bounded = bound + u64(u32(at) / NEAREST) * u32(P);
    u32 rows_near = 0;
#pragma unroll
    for (int e = 0; e < 4; e++) {
      u64 both = __ldg(bounded + 8 * e);
      u32 most = 0;
#pragma unroll
      for (int i = 0; i < 8; i++) most = max(most, u32(acc[e / 2][i / 2][2 * (e % 2) + i % 2]) + u32(both));
      rows_near |= u32(most >= u32(both >> 32)) << e;
    }
    if (__any_sync(ALL, rows_near)) {
      Scan judge = {key,     trials,  gram,    units,  n,       P,       limit, corrupted,
                    newest, largest, certain, failing, failed, doubtful};
      u32 near = 0;
#pragma unroll
      for (int e = 0; e < 4; e++) {
        if (!__any_sync(ALL, rows_near >> e & 1)) continue;
        u64 both = __ldg(bounded + 8 * e);
        u32 up = __ldg(stored + i64(8 * e) * words) >> 2 * quad;
#pragma unroll
        for (int i = 0; i < 8; i++) {
          int place = 8 * (i / 2) + i % 2, z = acc[e / 2][i / 2][2 * (e % 2) + i % 2] + int(u32(both));
          if (up >> place & 1 ? z < 0 : z >= int(both >> 32)) near |= 1u << (8 * e + i);
        }
      }
      if (first + STEP > int(n))
#pragma unroll
        for (int i = 0; i < 8; i++)
          if (first + 2 * quad + 8 * (i / 2) + i % 2 >= int(n)) near &= ~(0x01010101u << i);
      for (u32 lanes = __ballot_sync(ALL, near != 0); lanes; lanes &= lanes - 1) {
        int source = __ffs(int(lanes)) - 1;
        for (u32 elements = __shfl_sync(ALL, near, source); elements; elements &= elements - 1) {
          int e = __ffs(int(elements)) - 1, i = first + 2 * (source % 4) + e % 2 + e % 8 / 2 * 8;
          examine(judge, trial, memory + source / 4 + e / 8 * 8, i, begin, until);
        }
      }
      fetch();  // so that nothing of it is kept meanwhile
    }
    if (newest && until >= memory + STEP) return;
    begin = until;
    at += apart;
  }
}

// Whether memory mu of a trial, with its corrupted units flipped, comes to rest at itself at load p; by a block.
// row, state (w), planes (8 NT, u): its memory.
template <int NT, class F>
__device__ bool returns(const Scan& scan, const u64* packed, i64 trial, i64 mu, i64 p, i64 max_sweeps, i64 synchronous,
                        const Row<F>& row, u64* state, u64* planes) {
  __shared__ Turn turns[2][WARP];
  __shared__ int count;
  i64 n = scan.n, u = scan.P / 64, w = (n + 63) / 64, network = scan.trials[trial];
  const u64 *units = scan.units + trial * n * u, *stored = packed + trial * scan.P * w, *memory = stored + mu * w;
  PatternCoupling coupling = {units, u, p, 0};
  __syncthreads();
  for (i64 word = threadIdx.x; word < w; word += blockDim.x) state[word] = 0;
  __syncthreads();
  if (threadIdx.x < WARP) choose_units(scan.key, mu, network, p, scan.corrupted, n, state);
  __syncthreads();
  for (i64 word = threadIdx.x; word < w; word += blockDim.x) state[word] ^= memory[word];
  __syncthreads();
  for (i64 i = threadIdx.x; i < n; i += blockDim.x) row.s[i] = row.before[i] = static_cast<signed char>(sign(state, i));
  i64 flips = n;
  for (i64 sweep = 0; sweep < max_sweeps; sweep++) {
    bool back;
    __syncthreads();
    if (sweep == 0 || (synchronous && flips > RENEWED))
      renew_fields<NT>(coupling, stored, n, row, state, planes);
    if (synchronous)
      flips = step_row(coupling, n, row, RENEWED, &count, back);
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

// The loads of trials at which memories are to be recalled, as (p - 1) T + trial, at the end of jobs (T limit), small
// loads first if blocks run in turn; next (T limit before): where they begin.
__global__ void list_doubts(i64 T, i64 P, i64 limit, i64 newest, i64 largest, i64 certain, const int* failing,
                            const u32* failed, const u32* doubtful, i64* jobs, u64* next) {
  for (i64 index = thread_number(); index < T * limit; index += thread_count()) {
    i64 job = T * limit - 1 - index, trial = job % T, p = job / T + 1;
    bool known = failed[trial * (P / 32) + (p - 1) / 32] >> (p - 1) % 32 & 1;
    if (largest ? known : p >= failing[trial]) continue;
    u32 memories = p > certain;
    const u32* doubts = doubtful + (trial * P + p - 1) * (P / 32);
    for (i64 word = newest ? (p - 1) / 32 : 0; word < (p + 31) / 32; word++) memories |= doubts[word];
    if (memories) jobs[atomicAdd(next, ~0ull) - 1] = job;
  }
}

// Recalls what the scan left in doubt: a block takes one of the jobs after another, up to `turns` of them, from the
// counter `next`.  packed (T, P, w).  bytes: those of a state and a row, which each block keeps in shared memory or in
// scratch; planes (blocks, 8 NT, P / 64) are scratch too.
template <class F, int NT>
__global__ void __launch_bounds__(256, 2)
    resolve(u64 key, const i64* trials, const u64* packed, const int* gram, const u64* units, i64 T, i64 n, i64 P,
            i64 limit, i64 corrupted, i64 newest, i64 largest, i64 certain, i64 max_sweeps, i64 synchronous,
            const i64* jobs, u64* next, i64 turns, u64* planes, unsigned char* scratch, i64 bytes, int* failing,
            u32* failed, u32* doubtful) {
  __shared__ i64 taken;
  Scan scan = {key, trials, gram, units, n, P, limit, corrupted, newest, largest, certain,
               failing, failed, doubtful};
  unsigned char* memory = own_memory(scratch, bytes);
  u64 *state = reinterpret_cast<u64*>(memory), *own_planes = planes + blockIdx.x * 8 * NT * (P / 64);
  Row<F> row = row_in<F>(memory + 8 * ((n + 63) / 64), n);
  for (i64 turn = 0; turn < turns; turn++) {
    __syncthreads();
    if (threadIdx.x == 0) {
      taken = -1;
      for (i64 place = atomicAdd(next, 1ull); place < T * limit && taken < 0;) {
        i64 job = jobs[place], trial = job % T, p = job / T + 1;
        // Meanwhile it may be known that it does not count: a smaller load fails.
        if (largest || p < peek(failing + trial))
          taken = job;
        else
          place = atomicAdd(next, 1ull);
      }
    }
    __syncthreads();
    if (taken < 0) return;
    i64 trial = taken % T, p = taken / T + 1;
    bool passes = true;
    for (i64 word = newest ? (p - 1) / 32 : 0; word < (p + 31) / 32 && passes; word++) {
      u32 memories = p <= certain ? doubtful[(trial * P + p - 1) * (P / 32) + word] : u32(mask_below(p - 32 * word, 0));
      if (newest) memories &= 1u << (p - 1) % 32;
      while (memories && passes) {
        i64 mu = 32 * word + __ffs(int(memories)) - 1;
        memories &= memories - 1;
        passes = returns<NT>(scan, packed, trial, mu, p, max_sweeps, synchronous, row, state, own_planes);
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
