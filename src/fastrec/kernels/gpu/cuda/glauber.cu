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

// The draws of the row of this block in its sweeps; the rows of a launch are numbered from first_row of first_network.
struct Draw {
  u64 key;
  i64 row, network, first_sweep;
  __device__ Draw(u64 key, i64 first_network, i64 first_row, i64 b, i64 first_sweep)
      : key(key), row(first_row + blockIdx.x % b), network(first_network + blockIdx.x / b), first_sweep(first_sweep) {}
  __device__ u64 operator()(i64 sweep, i64 place) const {
    return draw(key, place, first_sweep + sweep, row, tag(GLAUBER, network));
  }
};

// What the row of this block has: see recall.cuh; totals (k b, totalled), form_totals (k b).  forms and trail are those
// of all sweeps; this launch begins after `first` of them.
template <class F>
__device__ Averaged<F> averaged_of(const F* thresholds, const u64* clamped, i64 held, i64 b, i64 n, i64 first,
                                   u64* trail, i64 trailed, int* turns, i64 room, i64 unaveraged, int* totals,
                                   i64 totalled, i64* form_totals) {
  i64 number = blockIdx.x, w = (n + 63) / 64;
  return {given_of(thresholds, clamped, held, b, n, trail + first * w, trailed, turns, room), unaveraged,
          totalled ? totals + number * totalled : nullptr, form_totals + number};
}

// Sweeps first..first + count - 1 of rows of states (k b, w) with their fields (k b, n), a block each: the twins of
// reference/glauber.py.  ranks (r, n): the first sweep of the launch is in the order number `base`; flips (k b), totals
// (k b, totalled) and form_totals (k b) hold those of earlier sweeps.

template <class F, class W>
__global__ void __launch_bounds__(512, 2)
    glauber_async_weights(u64 key, const int* ranks, i64 r, i64 base, i64 first_sweep, i64 first, i64 first_network,
                  i64 first_row, const W* columns, const F* thresholds, const u64* clamped, i64 held, const i64* heat,
                  const u64* chances, i64 unaveraged, i64 b, i64 n, i64 count, const F* fields, unsigned char* scratch,
                  i64 bytes, u64* states, i64* flips, i64* forms, i64 recorded, u64* trail, i64 trailed, int* turns,
                  i64 room, int* totals, i64 totalled, i64* form_totals) {
  __shared__ Turn partial[2][WARP];
  unsigned char* memory = own_memory(scratch, bytes);
  F* limits = reinterpret_cast<F*>(memory);  // (n)
  WeightCoupling<W> coupling = {columns + blockIdx.x / b * n * n, n};
  Draw drawn(key, first_network, first_row, b, first_sweep + first);
  Averaged<F> given = averaged_of(thresholds, clamped, held, b, n, first, trail, trailed, turns, room, unaveraged,
                                  totals, totalled, form_totals);
  i64 noted = flips[blockIdx.x];
  auto step = [&](const Row<F>& row, i64 sweep, i64& flipped) {
    Level level(heat + 4 * sweep, chances);
    const int* places = ranks + (base + sweep) % r * n;
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
      row.keys[i] = places[i];
      limits[i] = level.limit<F>(drawn(sweep, row.keys[i]));
    }
    auto note = [&](i64 before, i64 unit) { note_turn(given, noted + before, first + sweep, unit); };
    auto wants = [&](F field, int s, i64 i) { return level.flips(field, s, size_of(field) < limits[i]); };
    flipped = sweep_row(coupling, n, row, partial, note, wants);
    noted += flipped;
    return true;
  };
  Taken taken = recall_row(n, count, fields, memory + (n * sizeof(F) + 7) / 8 * 8, states, forms + first, recorded,
                           given, step);
  if (threadIdx.x == 0) flips[blockIdx.x] += taken.flips;
}

template <class F, class W>
__global__ void __launch_bounds__(512, 2)
    glauber_sync_weights(u64 key, i64 first_sweep, i64 first, i64 first_network, i64 first_row, const W* columns,
                 const F* thresholds, const u64* clamped, i64 held, const i64* heat, const u64* chances,
                 i64 unaveraged, i64 b, i64 n, i64 count, const F* fields, unsigned char* scratch, i64 bytes,
                 u64* states, i64* flips, i64* forms, i64 recorded, u64* trail, i64 trailed, int* totals, i64 totalled,
                 i64* form_totals) {
  __shared__ int turned;
  WeightCoupling<W> coupling = {columns + blockIdx.x / b * n * n, n};
  Draw drawn(key, first_network, first_row, b, first_sweep + first);
  Averaged<F> given = averaged_of(thresholds, clamped, held, b, n, first, trail, trailed, static_cast<int*>(nullptr), 0,
                                  unaveraged, totals, totalled, form_totals);
  auto step = [&](const Row<F>& row, i64 sweep, i64& flipped) {
    Level level(heat + 4 * sweep, chances);
    auto wants = [&](F field, int s, i64 i) {
      return level.flips(field, s, level.against(drawn(sweep, i), size_of(field)));
    };
    bool back;
    flipped = step_row(coupling, n, row, 0x7fffffff, &turned, back, wants);
    return true;
  };
  Taken taken = recall_row(n, count, fields, own_memory(scratch, bytes), states, forms + first, recorded, given, step);
  if (threadIdx.x == 0) flips[blockIdx.x] += taken.flips;
}
