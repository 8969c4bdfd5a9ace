#pragma once
#include "recurrent.cuh"

// What a block alone hands on, `width` values of each row, and its product with packed weights (network, depth, jobs).
template <class P, int ROWS> struct Link {
  using Real = typename P::Real;
  Shape shape;
  Team<P, ROWS, false> team;
  Weights<P, ROWS, 0> weights;

  __device__ Link(unsigned char*& free, int width, int columns, i64 parts, const typename P::Entry* packed,
                  const Member& own)
      : shape(P::shape(whole_pieces<typename P::Operand>(width), columns, int(parts))),
        team(free, shape, shape.inputs, 1, own.rows, nullptr),
        weights(shape, packed + own.network * shape.depth * shape.jobs, 1, nullptr, false) {}

  __device__ __forceinline__ void set(int r, int i, Real value) { team.in[r * team.pitch + i] = P::operand(value); }
  __device__ __forceinline__ void multiply(Real* partial) { team.multiply(weights, partial); }
};
