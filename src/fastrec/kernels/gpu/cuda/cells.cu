// The recurrences of all cells of cells.cuh, and their way back, one launch for all steps.
//
// A step costs a block its product (products.cuh), and what it takes until the team has what it handed on: within a
// block a barrier, in a cluster a store to every member for each value, in other teams two ways through L2 and a read
// of the whole from there.  kernels/gpu/recurrent.py chooses by that.
#include "cells.cuh"

// The dynamic shared memory of a block: what the team hands on, then these.
template <class P, class C, int ROWS, int AHEAD> struct Store {
  using T = typename P::Real;
  typename P::Entry* weights;  // that are not in registers, if they stay
  T* partial;                  // (parts, ROWS, width)
  T* ahead;                    // (2, AHEAD, ROWS, share): what two steps read of global memory
  T* state;                    // (ROWS, share) each, then (share) each of the parameters of single units

  __device__ Store(unsigned char* free, const Shape& shape, int times, int share, bool resident) {
    weights = reinterpret_cast<typename P::Entry*>(free);
    partial = reinterpret_cast<T*>(weights +
                                   (resident ? Weights<P, ROWS, P::template HELD<ROWS>>::rest_of(shape, times) : 0));
    ahead = partial + shape.parts * ROWS * shape.width;
    state = ahead + 2 * AHEAD * ROWS * share;
  }
};

// into (N, share): the parameters that the own units have for themselves, from of_units (k, N, h).  They are not read from
// there in every step: in a cluster they would come from L2, as each wait empties L1.
template <int N, class T>
__device__ __forceinline__ void copy_of_units(const Member& own, const T* of_units, int h, int share, T* into) {
  for (int i = 0; i < N; i++)
    for (int j = threadIdx.x; j < own.units; j += CELL_THREADS)
      into[i * share + j] = of_units[(own.network * N + i) * h + own.first + j];
}

// hidden (k, b, t, h) from z (k, b, t, GATES h) = x W_in + b, packed weights (k, members, times, depth, jobs), state
// (k, b, STATES h), of_units (k, OWN h), lengths (b).  cells (k, b, kept_steps, h) and kept (k, b, kept_steps, KEPT h)
// are for the way back; with kept_steps = 1 they hold the last step.  resident: whether weights that are not in
// registers stay in shared memory.
template <class P, template <class> class Cell, int ROWS, bool CLUSTERED, class T = typename P::Real>
__device__ __forceinline__ void forward_steps(const T* z, const i64* lengths, const T* state,
                                              const typename P::Entry* packed, const T* of_units, i64 b, i64 t,
                                              i64 width, i64 members, i64 first_team, i64 parts, i64 times,
                                              i64 resident, i64 activation, i64 kept_steps, uint4* posted, T* hidden,
                                              T* cells, T* kept) {
  using C = Cell<T>;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int length[ROWS];
  int h = int(width), blocks = int(members), share = (h + blocks - 1) / blocks,
      run = whole_pieces<typename P::Operand>(share);
  Member own(b, h, blocks, int(first_team), ROWS, lengths, length);
  Shape shape = P::shape(blocks / int(times) * run, C::GATES * share, int(parts));
  unsigned char* free = shared;
  Team<P, ROWS, CLUSTERED> team(free, shape, run, blocks, own.rows, posted);
  Store<P, C, ROWS, C::GATES> store(free, shape, int(times), share, resident);
  i64 before = (own.network * blocks + team.rank) * times * shape.depth * shape.jobs;
  Weights<P, ROWS, P::template HELD<ROWS>> weights(shape, packed + before, int(times), store.weights, resident);
  int elements = ROWS * share;
  T* of_own = store.state + (C::BEFORE || C::STATES == 2 ? elements : 0);
  copy_of_units<C::OWN>(own, of_units, h, share, of_own);
  each_element(own.rows, own.units, [&](int r, int j) {
    const T* from = state + (own.row + r) * C::STATES * h + own.first + j;
    team.made[r * team.made_pitch + j] = P::operand(from[0]);
    if (C::BEFORE || C::STATES == 2) store.state[r * share + j] = from[C::STATES == 2 ? h : 0];
  });

  auto fetch = [&](int step) {
    T* into = store.ahead + step % 2 * C::GATES * elements;
    each_element(own.rows, own.units, [&](int r, int j) {
      const T* from = z + ((own.row + r) * t + step) * C::GATES * h + own.first + j;
#pragma unroll
      for (int gate = 0; gate < C::GATES; gate++) copy_value(into + gate * elements + r * share + j, from + gate * h);
    });
  };
  if (own.steps) {
    fetch(0);
    team.hand_on();
  }
  copy_commit();
  for (int step = 0; step < own.steps; step++) {
    if (step + 1 < own.steps) fetch(step + 1);
    copy_commit();
    team.multiply(weights, store.partial);
    copy_wait<1>();
    __syncthreads();
    const T* now = store.ahead + step % 2 * C::GATES * elements;
    each_element(own.rows, own.units, [&](int r, int j) {
      int e = r * share + j, unit = own.first + j;
      i64 place = (own.row + r) * t + step;
      T value = 0;
      if (step < length[r]) {
        T sums[C::GATES], given[C::GATES], keep[C::KEPT], before = C::BEFORE ? store.state[e] : T(0);
        T c = C::STATES == 2 ? store.state[e] : T(0);
#pragma unroll
        for (int gate = 0; gate < C::GATES; gate++) {
          sums[gate] = weights.product(store.partial, r, gate * share + j);
          given[gate] = now[gate * elements + e];
        }
        OfUnit<C::OWN, T> of_unit(of_own + j, share);
        value = C::forward(given, sums, before, of_unit.values, c, keep, activation);
        i64 at = kept_steps == 1 ? own.row + r : place;
        if (C::BEFORE) store.state[e] = value;
        if (C::STATES == 2) cells[at * h + unit] = store.state[e] = c;
#pragma unroll
        for (int i = 0; i < (C::HIDDEN ? 0 : C::KEPT); i++) kept[(at * C::KEPT + i) * h + unit] = keep[i];
      }
      hidden[place * h + unit] = value;
      team.made[r * team.made_pitch + j] = P::operand(value);
    });
    if (step + 1 < own.steps) team.hand_on();
  }
  team.part();
  each_padded(own, t, [=](i64 place, int j) { hidden[place * h + own.first + j] = 0; });
}

// The way back: d_kept (k, b, t, KEPT h), the gradients of the arguments of the gates, may be d_hidden (if KEPT is 1) or
// kept itself; d_state (k, b, STATES h) from d_last.  of_units (k, OWN_BACK h), whose gradients in each row are added to
// d_of_units (k, b, OWN_BACK h), step by step.  d_total (k, b, t, h) gets the whole dE/dh if it is given.
template <class P, template <class> class Cell, int ROWS, bool CLUSTERED, class T = typename P::Real>
__device__ __forceinline__ void backward_steps(const i64* lengths, const T* state, const T* hidden, const T* cells,
                                               const T* kept, const typename P::Entry* packed, const T* of_units,
                                               const T* d_hidden, const T* d_last, i64 b, i64 t, i64 width, i64 members,
                                               i64 first_team, i64 parts, i64 times, i64 resident, i64 activation,
                                               uint4* posted, T* d_kept, T* d_state, T* d_of_units, T* d_total) {
  using C = Cell<T>;
  constexpr int GATED = C::HIDDEN ? 0 : C::KEPT, CELLED = C::STATES == 2 ? 2 : 0;
  constexpr int FROM_CELLS = 1 + C::HIDDEN + C::BEFORE, FROM_KEPT = FROM_CELLS + CELLED, AHEAD = FROM_KEPT + GATED;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int length[ROWS];
  int h = int(width), blocks = int(members), share = (h + blocks - 1) / blocks;
  int run = whole_pieces<typename P::Operand>(C::GATES * share);
  Member own(b, h, blocks, int(first_team), ROWS, lengths, length);
  Shape shape = P::shape(blocks / int(times) * run, share, int(parts));
  unsigned char* free = shared;
  Team<P, ROWS, CLUSTERED> team(free, shape, run, blocks, own.rows, posted);
  Store<P, C, ROWS, AHEAD> store(free, shape, int(times), share, resident);
  i64 before = (own.network * blocks + team.rank) * times * shape.depth * shape.jobs;
  Weights<P, ROWS, P::template HELD<ROWS>> weights(shape, packed + before, int(times), store.weights, resident);
  int elements = ROWS * share;
  T* carry = store.state;              // dE/dh from later steps
  T* direct = carry + ROWS * share;    // of it, what bypasses the product
  T* c_carry = direct + ROWS * share;  // dE/dc from later steps
  T* d_own = c_carry + (C::STATES == 2 ? elements : 0);  // (OWN_BACK, ROWS, share)
  T* of_own = d_own + C::OWN_BACK * elements;
  copy_of_units<C::OWN_BACK>(own, of_units, h, share, of_own);
  auto d_of_unit = [&](int r, int j, int i) -> T& {
    return d_of_units[((own.row + r) * C::OWN_BACK + i) * h + own.first + j];
  };
  each_element(own.rows, own.units, [&](int r, int j) {
    const T* last = d_last + (own.row + r) * C::STATES * h + own.first + j;
    int e = r * share + j;
    carry[e] = last[0];
    direct[e] = 0;
    if (C::STATES == 2) c_carry[e] = last[h];
#pragma unroll
    for (int i = 0; i < C::OWN_BACK; i++) d_own[i * elements + e] = d_of_unit(r, j, i);
  });

  auto fetch = [&](int step) {
    each_element(own.rows, own.units, [&](int r, int j) {
      i64 row = own.row + r, place = row * t + step;
      int unit = own.first + j;
      if (step >= length[r]) return;
      T* into = store.ahead + step % 2 * AHEAD * elements + r * share + j;
      auto before = [&](const T* steps, int part) {
        return step ? steps + (place - 1) * h + unit : state + (row * C::STATES + part) * h + unit;
      };
      copy_value(into, d_hidden + place * h + unit);
      if (C::HIDDEN) copy_value(into + elements, hidden + place * h + unit);
      if (C::BEFORE) copy_value(into + (1 + C::HIDDEN) * elements, before(hidden, 0));
      if (C::STATES == 2) {
        copy_value(into + FROM_CELLS * elements, cells + place * h + unit);
        copy_value(into + (FROM_CELLS + 1) * elements, before(cells, 1));
      }
#pragma unroll
      for (int i = 0; i < GATED; i++)
        copy_value(into + (FROM_KEPT + i) * elements, kept + (place * C::KEPT + i) * h + unit);
    });
  };
  if (own.steps) fetch(own.steps - 1);
  copy_commit();
  for (int step = own.steps - 1; step >= -1; step--) {
    if (step > 0) fetch(step - 1);
    copy_commit();
    if (step + 1 < own.steps) team.multiply(weights, store.partial);
    copy_wait<1>();
    __syncthreads();
    const T* now = store.ahead + (step & 1) * AHEAD * elements;
    each_element(own.rows, own.units, [&](int r, int j) {
      int e = r * share + j, unit = own.first + j;
      i64 place = (own.row + r) * t + step;
      if (step + 1 < length[r]) carry[e] = weights.product(store.partial, r, j) + direct[e];
      if (step < 0) return;
      T d[C::KEPT] = {}, d_h = 0;
      if (step < length[r]) {
        auto given = [&](bool is, int i) { return is ? now[i * elements + e] : T(0); };
        T keep[C::KEPT], d_c = C::STATES == 2 ? c_carry[e] : T(0);
#pragma unroll
        for (int i = 0; i < GATED; i++) keep[i] = now[(FROM_KEPT + i) * elements + e];
        d_h = now[e] + carry[e];
        OfUnit<C::OWN_BACK, T> of_unit(of_own + j, share), d_unit(d_own + e, elements);
        direct[e] = C::backward(d_h, given(C::HIDDEN, 1), given(C::BEFORE, 1 + C::HIDDEN), keep,
                                given(CELLED, FROM_CELLS), given(CELLED, FROM_CELLS + 1), of_unit.values, d_c, d,
                                d_unit.values, activation);
        if (C::STATES == 2) c_carry[e] = d_c;
#pragma unroll
        for (int i = 0; i < C::OWN_BACK; i++) d_own[i * elements + e] = d_unit.values[i];
      }
      if (d_total) d_total[place * h + unit] = d_h;
#pragma unroll
      for (int i = 0; i < C::KEPT; i++) d_kept[(place * C::KEPT + i) * h + unit] = d[i];
#pragma unroll
      for (int gate = 0; gate < C::GATES; gate++)
        team.made[r * team.made_pitch + gate * share + j] = P::operand(d[C::place(gate)]);
    });
    if (step >= 0) team.hand_on();
  }
  team.part();
  each_element(own.rows, own.units, [&](int r, int j) {
    T* into = d_state + (own.row + r) * C::STATES * h + own.first + j;
    into[0] = carry[r * share + j];
    if (C::STATES == 2) into[h] = c_carry[r * share + j];
#pragma unroll
    for (int i = 0; i < C::OWN_BACK; i++)
      d_of_unit(r, j, i) = d_own[i * elements + r * share + j];
  });
  each_padded(own, t, [=](i64 place, int j) {
    int unit = own.first + j;
    for (int i = 0; i < C::KEPT; i++) d_kept[(place * C::KEPT + i) * h + unit] = 0;
    if (d_total) d_total[place * h + unit] = 0;
  });
}

// The kernels: blocks of a team that meet in global memory, or alone; and those of a cluster.

template <class P, template <class> class Cell, int ROWS, class T = typename P::Real>
__global__ void __launch_bounds__(CELL_THREADS, 1)
    cell_forward(const T* z, const i64* lengths, const T* state, const typename P::Entry* packed, const T* of_units,
                 i64 b, i64 t, i64 width, i64 members, i64 first_team, i64 parts, i64 times, i64 resident,
                 i64 activation, i64 kept_steps, uint4* posted, T* hidden, T* cells, T* kept) {
  forward_steps<P, Cell, ROWS, false>(z, lengths, state, packed, of_units, b, t, width, members, first_team, parts,
                                      times, resident, activation, kept_steps, posted, hidden, cells, kept);
}

template <class P, template <class> class Cell, int ROWS, class T = typename P::Real>
__global__ void __cluster_dims__(CLUSTER) __launch_bounds__(CELL_THREADS, 1)
    cluster_forward(const T* z, const i64* lengths, const T* state, const typename P::Entry* packed, const T* of_units,
                    i64 b, i64 t, i64 width, i64 members, i64 first_team, i64 parts, i64 times, i64 resident,
                    i64 activation, i64 kept_steps, uint4* posted, T* hidden, T* cells, T* kept) {
  forward_steps<P, Cell, ROWS, true>(z, lengths, state, packed, of_units, b, t, width, members, first_team, parts,
                                     times, resident, activation, kept_steps, posted, hidden, cells, kept);
}

template <class P, template <class> class Cell, int ROWS, class T = typename P::Real>
__global__ void __launch_bounds__(CELL_THREADS, 1)
    cell_backward(const i64* lengths, const T* state, const T* hidden, const T* cells, const T* kept,
                  const typename P::Entry* packed, const T* of_units, const T* d_hidden, const T* d_last, i64 b, i64 t,
                  i64 width, i64 members, i64 first_team, i64 parts, i64 times, i64 resident, i64 activation,
                  uint4* posted, T* d_kept, T* d_state, T* d_of_units, T* d_total) {
  backward_steps<P, Cell, ROWS, false>(lengths, state, hidden, cells, kept, packed, of_units, d_hidden, d_last, b, t,
                                       width, members, first_team, parts, times, resident, activation, posted, d_kept,
                                       d_state, d_of_units, d_total);
}

template <class P, template <class> class Cell, int ROWS, class T = typename P::Real>
__global__ void __cluster_dims__(CLUSTER) __launch_bounds__(CELL_THREADS, 1)
    cluster_backward(const i64* lengths, const T* state, const T* hidden, const T* cells, const T* kept,
                     const typename P::Entry* packed, const T* of_units, const T* d_hidden, const T* d_last, i64 b,
                     i64 t, i64 width, i64 members, i64 first_team, i64 parts, i64 times, i64 resident, i64 activation,
                     uint4* posted, T* d_kept, T* d_state, T* d_of_units, T* d_total) {
  backward_steps<P, Cell, ROWS, true>(lengths, state, hidden, cells, kept, packed, of_units, d_hidden, d_last, b, t,
                                      width, members, first_team, parts, times, resident, activation, posted, d_kept,
                                      d_state, d_of_units, d_total);
}

// norms (rows), float64: squared norms of d (rows, h), a warp a row.
template <class T> __global__ void row_norms(const T* d, i64 rows, i64 h, double* norms) {
  for (i64 row = thread_number() / WARP; row < rows; row += thread_count() / WARP) {
    double sum = 0;
    for (i64 j = threadIdx.x % WARP; j < h; j += WARP) sum += double(d[row * h + j]) * d[row * h + j];
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) norms[row] = sum;
  }
}

// packed (k, members, times, depth, jobs) from W (k, n, gates u), or its transpose if `back`: n and u units are dealt
// to the members in runs.  Inputs of a product are ordered by member, gate and unit, those of a member in whole pieces;
// at each time come those of as many members.
template <class P>
__global__ void __launch_bounds__(CELL_THREADS)
    pack_weights(const typename P::Real* W, i64 k, i64 n, i64 u, i64 gates, i64 members, i64 parts, i64 times, i64 back,
                 typename P::Entry* packed) {
  using Real = typename P::Real;
  int in_share = int((n + members - 1) / members), out_share = int((u + members - 1) / members);
  int columns = back ? in_share : int(gates) * out_share, at_once = int(members / times);
  int run = whole_pieces<typename P::Operand>(back ? int(gates) * out_share : in_share);
  Shape shape = P::shape(at_once * run, columns, int(parts));
  int depth = shape.depth, jobs = shape.jobs;
  for (i64 i = thread_number(); i < k * members * times * depth * jobs; i += thread_count()) {
    int job = int(i % jobs), x = int(i / jobs % depth);
    i64 place = i / jobs / depth, time = place % times, member = place / times % members;
    const Real* from = W + place / times / members * n * gates * u;
    packed[i] = P::entry(shape, x, job, [=](int input, int column) {
      i64 giver = time * at_once + input / run, into = back ? giver : member;  // whose runs of n, and of gates u
      int there = back ? column : input % run, here = back ? input % run : column;
      i64 row = (back ? member : giver) * in_share + there, gate = here / out_share;
      i64 unit = into * out_share + here % out_share;
      bool is = input < shape.inputs && there < in_share && gate < gates && row < n && unit < u;
      return is ? from[(row * gates + gate) * u + unit] : Real(0);
    });
  }
}
