// Glauber dynamics: the rows of recall.cu, in which a unit may be set against its field.
//
// A draw sets a unit against its field if it is less than a chance that falls with the size of the field: so if the
// field is smaller than a limit of that draw.  With the limits of a sweep's draws at hand a test costs no more than
// without temperature, and the next unit to flip is found in the same way.
#include "recall.cuh"

inline constexpr int FRACTION = 12;  // bits of the arguments of chances between two of its entries

// How a sweep turns the size of a field into a chance: see reference/glauber.py.
struct Level {
  i64 cutoff;  // sizes from which on fields are obeyed: if it is 0, a field of 0 leaves a unit as it is
  int drop;
  u64 factor;
  int shift;
  const u64* chances;

  __device__ Level(const i64* heat, const u64* chances)
      : cutoff(heat[0]), drop(int(heat[1])), factor(heat[2]), shift(int(heat[3])), chances(chances) {}

  __device__ bool against(u64 draw, i64 size) const {
    if (size >= cutoff) return false;
    u64 argument = (u64(size) >> drop) * factor >> shift;
    const u64* entry = chances + (argument >> FRACTION);
    u64 here = entry[0], part = argument & ((1 << FRACTION) - 1);
    return draw < here - ((here - entry[1]) * part >> FRACTION);
  }

  // The size below which a draw sets a unit against its field, or the largest number that a field has.
  template <class F> __device__ F limit(u64 draw) const {
    i64 low = 0, high = min(cutoff, i64(~0ull >> (65 - 8 * sizeof(F))));
    while (low < high) {
      i64 middle = low + (high - low) / 2;
      if (against(draw, middle))
        low = middle + 1;
      else
        high = middle;
    }
    return F(low);
  }

  // Whether a unit in state s, 0 if it is held, takes another one.
  template <class F> __device__ bool flips(F field, int s, bool against) const {
    return cutoff == 0 || s == 0 ? field * s < 0 : ((field >= 0) != against) != (s > 0);
  }
};

template <class F> __device__ __forceinline__ i64 size_of(F field) { return field < 0 ? -i64(field) : i64(field); }

// The temperatures heat (count, 4) of the sweeps of a launch, and the draws of the row of this block; rows are numbered
// from first_row of first_network, sweeps from first_sweep.
struct Bath {
  u64 key;
  i64 row, network, first_sweep;
  const i64* heat;
  const u64* chances;

  __device__ Bath(u64 key, i64 first_network, i64 first_row, i64 b, i64 first_sweep, const i64* heat,
                  const u64* chances)
      : key(key), row(first_row + blockIdx.x % b), network(first_network + blockIdx.x / b), first_sweep(first_sweep),
        heat(heat), chances(chances) {}

  __device__ Level level(i64 sweep) const { return {heat + 4 * sweep, chances}; }
  __device__ u64 drawn(i64 sweep, i64 place) const {
    return draw(key, place, first_sweep + sweep, row, tag(GLAUBER, network));
  }
};

// What the row of this block has, and sums: totals (k b, totalled), form_totals (k b).
template <class More>
__device__ Averaged<More> averaged_of(const More& given, i64 unaveraged, int* totals, i64 totalled, i64* form_totals) {
  return {given, unaveraged, totalled ? totals + blockIdx.x * totalled : nullptr, form_totals + blockIdx.x};
}

// `count` sweeps of the row of this block, after `first` others; the order of the first of them is number `base` of
// ranks (r, n).  forms are those of all sweeps, flips (k b) goes on.
template <class F, class Coupling, class More>
__device__ void glauber_async_row(const Coupling& coupling, const Bath& bath, const int* ranks, i64 r, i64 base,
                                  i64 first, i64 n, i64 count, const F* fields, unsigned char* scratch, i64 bytes,
                                  u64* states, i64* flips, i64* forms, i64 recorded, const More& given) {
  __shared__ Turn partial[2][WARP];
  unsigned char* memory = own_memory(scratch, bytes);
  F* limits = reinterpret_cast<F*>(memory);  // (n)
  i64 noted = flips[blockIdx.x];
  auto step = [&](const Row<F>& row, i64 sweep, i64& flipped) {
    Level level = bath.level(sweep);
    const int* places = ranks + (base + sweep) % r * n;
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
      row.keys[i] = places[i];
      limits[i] = level.limit<F>(bath.drawn(sweep, places[i]));
    }
    auto note = [&](i64 before, i64 unit) { note_turn(given, noted + before, first + sweep, unit); };
    auto wants = [&](F field, int s, i64 i) { return level.flips(field, s, size_of(field) < limits[i]); };
    flipped = sweep_row(coupling, n, row, partial, note, wants);
    noted += flipped;
    return true;
  };
  recall_row(n, count, fields, memory + (n * sizeof(F) + 7) / 8 * 8, states, forms + first, recorded, given, step);
  if (threadIdx.x == 0) flips[blockIdx.x] = noted;
}

// Sweeps first..first + count - 1 of rows of states (k b, w) with their fields (k b, n), a block each: the twins of
// reference/glauber.py.

template <class F>
__global__ void __launch_bounds__(512, 2)
    glauber_async(u64 key, const int* ranks, i64 r, i64 base, i64 first_sweep, i64 first, i64 first_network,
                  i64 first_row, const i64* heat, const u64* chances, i64 unaveraged, const u64* units, i64 p, i64 u,
                  i64 self, i64 b, i64 n, i64 count, const F* fields, unsigned char* scratch, i64 bytes, u64* states,
                  i64* flips, i64* forms, i64 recorded, int* totals, i64 totalled, i64* form_totals) {
  PatternCoupling coupling = {units + blockIdx.x / b * n * u, u, p, self};
  Bath bath(key, first_network, first_row, b, first_sweep, heat, chances);
  glauber_async_row(coupling, bath, ranks, r, base, first, n, count, fields, scratch, bytes, states, flips, forms,
                    recorded, averaged_of(NothingGiven(), unaveraged, totals, totalled, form_totals));
}

template <class F, class W>
__global__ void __launch_bounds__(512, 2)
    glauber_async_weights(u64 key, const int* ranks, i64 r, i64 base, i64 first_sweep, i64 first, i64 first_network,
                          i64 first_row, const i64* heat, const u64* chances, i64 unaveraged, const W* columns,
                          const F* thresholds, const u64* clamped, i64 held, i64 b, i64 n, i64 count, const F* fields,
                          unsigned char* scratch, i64 bytes, u64* states, i64* flips, i64* forms, i64 recorded,
                          u64* trail, i64 trailed, int* turns, i64 room, int* totals, i64 totalled, i64* form_totals) {
  WeightCoupling<W> coupling = {columns + blockIdx.x / b * n * n, n};
  Bath bath(key, first_network, first_row, b, first_sweep, heat, chances);
  Given<F> given =
      given_of(thresholds, clamped, held, b, n, trail + first * ((n + 63) / 64), trailed, turns, room);
  glauber_async_row(coupling, bath, ranks, r, base, first, n, count, fields, scratch, bytes, states, flips, forms,
                    recorded, averaged_of(given, unaveraged, totals, totalled, form_totals));
}

template <class F, class W>
__global__ void __launch_bounds__(512, 2)
    glauber_sync_weights(u64 key, i64 first_sweep, i64 first, i64 first_network, i64 first_row, const i64* heat,
                         const u64* chances, i64 unaveraged, const W* columns, const F* thresholds,
                         const u64* clamped, i64 held, i64 b, i64 n, i64 count, const F* fields,
                         unsigned char* scratch, i64 bytes, u64* states, i64* flips, i64* forms, i64 recorded,
                         u64* trail, i64 trailed, int* totals, i64 totalled, i64* form_totals) {
  __shared__ int turned;
  WeightCoupling<W> coupling = {columns + blockIdx.x / b * n * n, n};
  Bath bath(key, first_network, first_row, b, first_sweep, heat, chances);
  Given<F> given = given_of(thresholds, clamped, held, b, n, trail + first * ((n + 63) / 64), trailed,
                            static_cast<int*>(nullptr), 0);
  Averaged<Given<F>> more = averaged_of(given, unaveraged, totals, totalled, form_totals);
  auto step = [&](const Row<F>& row, i64 sweep, i64& flipped) {
    Level level = bath.level(sweep);
    auto wants = [&](F field, int s, i64 i) {
      return level.flips(field, s, level.against(bath.drawn(sweep, i), size_of(field)));
    };
    bool back;
    flipped = step_row(coupling, n, row, 0x7fffffff, &turned, back, wants);
    return true;
  };
  Taken taken = recall_row(n, count, fields, own_memory(scratch, bytes), states, forms + first, recorded, more, step);
  if (threadIdx.x == 0) flips[blockIdx.x] += taken.flips;
}

// A synchronous step, a warp a word of the states (k b, w) with their fields (k b, n); the new states are added to
// totals (k b, totalled), if that is not 0.
template <class F>
__global__ void glauber_step(u64 key, i64 sweep, i64 first_network, i64 first_row, const i64* heat,
                             const u64* chances, i64 k, i64 b, i64 n, const F* fields, u64* states, i64* flips,
                             int* totals, i64 totalled) {
  Level level(heat, chances);
  i64 lane = threadIdx.x % WARP, w = (n + 63) / 64;
  for (i64 word = thread_number() / WARP; word < k * b * w; word += thread_count() / WARP) {
    i64 number = word / w, network = first_network + number / b, row = first_row + number % b;
    u64 old = states[word], turned = 0;
    for (int half = 0; half < 64; half += WARP) {
      i64 i = word % w * 64 + half + lane;
      int s = old >> (half + lane) & 1 ? 1 : -1;
      bool flip = false;
      if (i < n) {
        F field = fields[number * n + i];
        flip = level.flips(field, s, level.against(draw(key, i, sweep, row, tag(GLAUBER, network)), size_of(field)));
        if (totalled) totals[number * totalled + i] += flip ? -s : s;
      }
      turned |= u64(__ballot_sync(ALL, flip)) << half;
    }
    __syncwarp();  // all lanes have read the word
    if (lane == 0) {
      states[word] = old ^ turned;
      atomicAdd(reinterpret_cast<u64*>(flips + number), u64(__popcll(turned)));
    }
  }
}
