#pragma once
#include "cells.cuh"

// The layers of a network, one of k, in a block that takes a step of up to ROWS rows at a time and reads the weights
// from L2.  W_in (k, words, gates h) of the first layer, which only tokens read; bias (layers, k, gates h), of_units
// (layers, k, OWN h).  packed: of all networks the weights as pack_weights of cells.cu deals them to one block, W_in
// unless tokens are read, W_rec of all layers, W_in of the second and later ones.
template <class P, template <class> class Cell, int ROWS, class T = typename P::Real> struct Layers {
  using Operand = typename P::Operand;
  using C = Cell<T>;
  static constexpr int GATES = C::GATES;
  const T *W_in, *bias, *of_units;
  const typename P::Entry* packed;
  i64 k, net, words, activation;
  int i, h, fed, layers, top_pitch;
  bool feeds_back;
  Shape in, recurrent;
  // What products read: inputs, the state of every layer, the top hidden units, and what late gates read.  Then come
  // their sums, of which the last may also be those of other products.
  Operand *read, *before, *top, *scaled;
  T *recurrent_sums, *late_sums, *sums;

  // By all threads, which must meet before they use what is in memory.
  __device__ Layers(unsigned char* memory, const T* W_in, const T* bias, const T* of_units,
                    const typename P::Entry* packed, i64 k, i64 net, i64 words, int i, int h, int fed, int layers,
                    bool feeds_back, i64 activation, int in_parts, int recurrent_parts, int top_pitch)
      : W_in(W_in), bias(bias), of_units(of_units), packed(packed), k(k), net(net), words(words),
        activation(activation), i(i), h(h), fed(fed), layers(layers), top_pitch(top_pitch), feeds_back(feeds_back),
        in(P::shape(whole_pieces<Operand>(i), GATES * h, in_parts)),
        recurrent(P::shape(whole_pieces<Operand>(fed), GATES * h, recurrent_parts)) {
    read = reinterpret_cast<Operand*>(memory);
    before = read + ROWS * in.pitch;
    top = before + layers * ROWS * recurrent.pitch;
    scaled = top + ROWS * top_pitch;
    Operand* end = scaled + (C::LATE ? ROWS * recurrent.pitch : 0);
    for (Operand* place = read + threadIdx.x; place < end; place += CELL_THREADS) *place = 0;
    int sums_size = recurrent.parts * ROWS * recurrent.width;
    recurrent_sums = reinterpret_cast<T*>(end);
    late_sums = recurrent_sums + sums_size;
    sums = late_sums + (C::LATE ? sums_size : 0);
  }

  __device__ static i64 size(const Shape& shape) { return i64(shape.depth) * shape.jobs; }
  __device__ i64 after_inputs() const { return i ? k * size(in) : 0; }
  __device__ i64 after_states() const { return after_inputs() + layers * k * size(recurrent); }
  // Where weights lie behind those of the layers.
  __device__ i64 after_layers() const { return after_states() + (layers - 1) * k * size(recurrent); }
  __device__ Weights<P, ROWS, 0> weights_of(const Shape& shape, i64 skipped) const {
    return Weights<P, ROWS, 0>(shape, packed + skipped + net * size(shape), 1, nullptr, false);
  }

  // Take a step: top gets the hidden units of the top layer, and `before` those of all, unless outputs are the state.
  // from(layer, r) and to(layer, r): where the state of a row lies, and where it is put, which may be the same.
  // made(r, j, value) is called for each top hidden unit.
  template <class From, class To, class Made>
  __device__ __forceinline__ void step(int rows, const int* token, From from, To to, Made made) const {
    for (int layer = 0; layer < layers; layer++) {
      Operand* own = before + layer * ROWS * recurrent.pitch;
      auto back = weights_of(recurrent, after_inputs() + layer * k * size(recurrent));
      auto down = layer ? weights_of(recurrent, after_states() + (layer - 1) * k * size(recurrent)) : weights_of(in, 0);
      back.multiply(own, recurrent_sums, 0);
      if (layer || i) down.multiply(layer ? own - ROWS * recurrent.pitch : read, sums, 0);
      __syncthreads();
      auto add_up = [&](int r, int j, bool late, T(&z)[GATES], T(&p)[GATES]) {
#pragma unroll
        for (int gate = 0; gate < GATES; gate++) {
          int column = gate * h + j;
          T into = layer || i ? down.product(sums, r, column) : W_in[(net * words + token[r]) * GATES * h + column];
          z[gate] = into + bias[(layer * k + net) * GATES * h + column];
          if (C::LATE && gate == GATES - 1)
            p[gate] = late ? back.product(late_sums, r, column) : T(0);
          else
            p[gate] = back.product(recurrent_sums, r, column);
        }
      };
      if constexpr (C::LATE) {
        each_element(rows, h, [&](int r, int j) {
          T z[GATES], p[GATES], keep[C::KEPT];
          add_up(r, j, false, z, p);
          scaled[r * recurrent.pitch + j] = P::operand(C::reset(z, p, from(layer, r)[j], keep));
        });
        __syncthreads();
        back.multiply(scaled, late_sums, 0);  // of all gates: the others are not used
        __syncthreads();
      }
      each_element(rows, h, [&](int r, int j) {
        T z[GATES], p[GATES], keep[C::KEPT];
        add_up(r, j, true, z, p);
        const T* old = from(layer, r) + j;
        T* kept = to(layer, r) + j;
        T was = C::BEFORE ? *old : T(0), c = C::STATES == 2 ? old[h] : T(0);
        OfUnit<C::OWN, T> of_unit(of_units + (layer * k + net) * C::OWN * h + j, h);
        T value = C::forward(z, p, was, of_unit.values, c, keep, activation);
        if (C::STATES == 2) kept[h] = c;
        if (!feeds_back) {
          *kept = value;
          own[r * recurrent.pitch + j] = P::operand(value);
        }
        if (layer + 1 < layers) return;
        top[r * top_pitch + j] = P::operand(value);
        made(r, j, value);
      });
      __syncthreads();
    }
  }
};
