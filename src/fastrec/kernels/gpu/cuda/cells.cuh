#pragma once
#include "recurrent.cuh"

// The cells: what a unit of a row does with the sums that reach its gates, and back.  GATES: of the recurrent product;
// KEPT: values a step keeps for the way back, whose gradients take their place; STATES: h, and c of an LSTM.
// place(a): where the gradient of recurrent gate a lies among those.  HIDDEN, BEFORE: whether the way back reads h',
// and h before the step, which is then also needed as it is in the step.

template <class T> struct Elman {
  static constexpr int GATES = 1, KEPT = 1, STATES = 1;
  static constexpr bool HIDDEN = true, BEFORE = false;
  __device__ static int place(int) { return 0; }

  // h' from the sums z + p of its only gate; nothing is kept but h' itself.
  __device__ static T forward(const T* z, const T* p, T, T, T&, T*, i64 activation) {
    return activate(z[0] + p[0], activation);
  }

  // The gradient d[0] of the argument of f from d_h; what of it goes straight to the state before: nothing.
  __device__ static T backward(T d_h, T h, T, const T*, T, T, T&, T* d, i64 activation) {
    d[0] = d_h * slope(h, activation);
    return 0;
  }
};

template <class T> struct Gru {
  static constexpr int GATES = 3, KEPT = 4, STATES = 1;
  static constexpr bool HIDDEN = false, BEFORE = true;
  __device__ static int place(int gate) { return gate < 2 ? gate : 3; }

  // kept = [r | z | n | q], q = p_n + b_n.
  __device__ static T forward(const T* z, const T* p, T before, T b_n, T&, T* kept, i64) {
    T r = logistic(z[0] + p[0]), u = logistic(z[1] + p[1]), q = p[2] + b_n, n = hyperbolic(z[2] + r * q);
    kept[0] = r;
    kept[1] = u;
    kept[2] = n;
    kept[3] = q;
    return (1 - u) * n + u * before;
  }

  __device__ static T backward(T d_h, T, T before, const T* kept, T, T, T&, T* d, i64) {
    T r = kept[0], u = kept[1], n = kept[2], q = kept[3];
    d[2] = d_h * (1 - u) * (1 - n * n);
    d[1] = d_h * (before - n) * u * (1 - u);
    d[0] = d[2] * q * r * (1 - r);
    d[3] = d[2] * r;
    return d_h * u;
  }
};

template <class T> struct Lstm {
  static constexpr int GATES = 4, KEPT = 4, STATES = 2;
  static constexpr bool HIDDEN = false, BEFORE = false;
  __device__ static int place(int gate) { return gate; }

  // kept = [i | f | g | o]; c becomes c'.
  __device__ static T forward(const T* z, const T* p, T, T, T& c, T* kept, i64) {
    T i = logistic(z[0] + p[0]), f = logistic(z[1] + p[1]), g = hyperbolic(z[2] + p[2]), o = logistic(z[3] + p[3]);
    kept[0] = i;
    kept[1] = f;
    kept[2] = g;
    kept[3] = o;
    c = f * c + i * g;
    return o * hyperbolic(c);
  }

  // c: after the step, c_before: before it; d_c: the gradient of c that comes from later, becomes that of c_before.
  __device__ static T backward(T d_h, T, T, const T* kept, T c, T c_before, T& d_c, T* d, i64) {
    T i = kept[0], f = kept[1], g = kept[2], o = kept[3], tanh_c = hyperbolic(c);
    T total = d_c + d_h * o * (1 - tanh_c * tanh_c);
    d[0] = total * g * i * (1 - i);
    d[1] = total * c_before * f * (1 - f);
    d[2] = total * i * (1 - g * g);
    d[3] = d_h * tanh_c * o * (1 - o);
    d_c = total * f;
    return 0;
  }
};
