// Networks that take a step at a time, or go on by reading their own outputs: all steps in one launch.  A block takes
// up to ROWS rows of a network; weights come from L2.
#include "cells.cuh"

// outputs (k, b, n, o) and last (layers, k, b, s) from state (layers, k, b, s) and the first inputs, x (m, b, i) or,
// with i = 0, tokens (m, b) from 0 to `words` - 1; each output is the next input.  W_in (k, words, gates h) of the
// first layer, which only tokens read; bias (layers, k, gates h), of_units (layers, k, OWN h), b_out (k, o),
// null where the hidden units are the outputs.  packed: of all networks the weights as pack_weights of cells.cu deals
// them to one block, W_in unless tokens are read, W_rec of all layers, W_in of the second and later ones, W_out.
// feeds_back: whether the outputs are the state of the next step, as in a Jordan network.  fault: set to 1 where an
// input is not finite or no token, or an output is not finite.
template <class P, template <class> class Cell, int ROWS, class T = typename P::Real>
__global__ void __launch_bounds__(CELL_THREADS, 1)
    take_steps(const T* x, const i64* tokens, const T* state, const T* W_in, const T* bias, const T* of_units,
               const typename P::Entry* packed, const T* b_out, i64 k, i64 b, i64 n, i64 m, i64 inputs, i64 words,
               i64 width, i64 outs, i64 layer_count, i64 feeds_back, i64 activation, i64 in_parts, i64 recurrent_parts,
               i64 out_parts, T* outputs, T* last, int* fault) {
  using Operand = typename P::Operand;
  using C = Cell<T>;
  constexpr int gates = C::GATES, states = C::STATES;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ int token[ROWS];
  int i = int(inputs), h = int(width), o = int(outs), layers = int(layer_count), fed = feeds_back ? o : h;
  i64 s = feeds_back ? o : states * h, teams = (b + ROWS - 1) / ROWS, net = blockIdx.x / teams,
      first = blockIdx.x % teams * ROWS, given = min(net, m - 1) * b + first;
  int rows = int(min(i64(ROWS), b - first));

  Shape in = P::shape(whole_pieces<Operand>(i), gates * h, int(in_parts));
  Shape recurrent = P::shape(whole_pieces<Operand>(fed), gates * h, int(recurrent_parts));
  Shape out = P::shape(whole_pieces<Operand>(h), o, int(out_parts));
  // What products read: inputs, the state of every layer, the top hidden units, and what late gates read.  Then come
  // their sums.
  Operand *read = reinterpret_cast<Operand*>(shared), *before = read + ROWS * in.pitch,
          *top = before + layers * ROWS * recurrent.pitch, *scaled = top + ROWS * out.pitch,
          *end = scaled + (C::LATE ? ROWS * recurrent.pitch : 0);
  for (Operand* place = read + threadIdx.x; place < end; place += CELL_THREADS) *place = 0;
  int sums_size = recurrent.parts * ROWS * recurrent.width;
  T *recurrent_sums = reinterpret_cast<T*>(end), *late_sums = recurrent_sums + sums_size,
    *sums = late_sums + (C::LATE ? sums_size : 0);

  auto size = [](const Shape& shape) { return i64(shape.depth) * shape.jobs; };
  auto weights_of = [&](const Shape& shape, i64 skipped) {
    return Weights<P, ROWS, 0>(shape, packed + skipped + net * size(shape), 1, nullptr, false);
  };
  // Places in state and last, and outputs, which are read in the next step.
  auto state_of = [&](int layer, int r) { return ((layer * k + net) * b + first + r) * s; };
  auto hand_out = [&](i64 step, int r, int j, T y) {
    outputs[((net * b + first + r) * n + step) * o + j] = y;
    if (!isfinite(y)) atomicOr(fault, 1);
    if (feeds_back) {
      last[state_of(0, r) + j] = y;
      before[r * recurrent.pitch + j] = P::operand(y);
    }
    if (step + 1 < n) read[r * in.pitch + j] = P::operand(y);
  };
  __syncthreads();
  each_element(rows, i, [&](int r, int j) {
    T value = x[(given + r) * i + j];
    if (!isfinite(value)) atomicOr(fault, 1);
    read[r * in.pitch + j] = P::operand(value);
  });
  if (i == 0 && threadIdx.x < rows) {
    i64 chosen = tokens[given + threadIdx.x];
    bool known = chosen >= 0 && chosen < words;
    if (!known) atomicOr(fault, 1);
    token[threadIdx.x] = known ? int(chosen) : 0;
  }
  for (int layer = 0; layer < layers; layer++)
    each_element(rows, int(s), [&](int r, int j) {
      T value = state[state_of(layer, r) + j];
      last[state_of(layer, r) + j] = value;
      if (j < fed) before[(layer * ROWS + r) * recurrent.pitch + j] = P::operand(value);
    });
  __syncthreads();
  i64 after_inputs = (i ? k * size(in) : 0), after_states = after_inputs + layers * k * size(recurrent);
  for (i64 step = 0; step < n; step++) {
    for (int layer = 0; layer < layers; layer++) {
      Operand* own = before + layer * ROWS * recurrent.pitch;
      auto back = weights_of(recurrent, after_inputs + layer * k * size(recurrent));
      auto down = layer ? weights_of(recurrent, after_states + (layer - 1) * k * size(recurrent)) : weights_of(in, 0);
      back.multiply(own, recurrent_sums, 0);
      if (layer || i) down.multiply(layer ? own - ROWS * recurrent.pitch : read, sums, 0);
      __syncthreads();
      auto add_up = [&](int r, int j, bool late, T(&z)[gates], T(&p)[gates]) {
#pragma unroll
        for (int gate = 0; gate < gates; gate++) {
          int column = gate * h + j;
          T into = layer || i ? down.product(sums, r, column) : W_in[(net * words + token[r]) * gates * h + column];
          z[gate] = into + bias[(layer * k + net) * gates * h + column];
          if (C::LATE && gate == gates - 1)
            p[gate] = late ? back.product(late_sums, r, column) : T(0);
          else
            p[gate] = back.product(recurrent_sums, r, column);
        }
      };
      if constexpr (C::LATE) {
        each_element(rows, h, [&](int r, int j) {
          T z[gates], p[gates], keep[C::KEPT];
          add_up(r, j, false, z, p);
          scaled[r * recurrent.pitch + j] = P::operand(C::reset(z, p, last[state_of(layer, r) + j], keep));
        });
        __syncthreads();
        back.multiply(scaled, late_sums, 0);  // of all gates: the others are not used
        __syncthreads();
      }
      each_element(rows, h, [&](int r, int j) {
        T z[gates], p[gates], keep[C::KEPT];
        add_up(r, j, true, z, p);
        T* kept = last + state_of(layer, r) + j;
        T was = C::BEFORE ? *kept : T(0), c = states == 2 ? kept[h] : T(0);
        OfUnit<C::OWN, T> of_unit(of_units + (layer * k + net) * C::OWN * h + j, h);
        T value = C::forward(z, p, was, of_unit.values, c, keep, activation);
        if (states == 2) kept[h] = c;
        if (!feeds_back) {
          *kept = value;
          own[r * recurrent.pitch + j] = P::operand(value);
        }
        if (layer + 1 < layers) return;
        top[r * out.pitch + j] = P::operand(value);
        if (!b_out) hand_out(step, r, j, value);
      });
      __syncthreads();
    }
    if (!b_out) continue;
    auto outward = weights_of(out, after_states + (layers - 1) * k * size(recurrent));
    outward.multiply(top, sums, 0);
    __syncthreads();
    each_element(rows, o,
                 [&](int r, int j) { hand_out(step, r, j, outward.product(sums, r, j) + b_out[net * o + j]); });
    __syncthreads();
  }
}
