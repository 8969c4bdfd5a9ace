#pragma once
#include "recurrent.cuh"

// The cells: what a unit of a row does with the sums that reach its gates, and back.  GATES: of the recurrent product;
// KEPT: values a step keeps for the way back, whose gradients take their place; STATES: h, and c of an LSTM.
// place(a): where the gradient of recurrent gate a lies among those.  HIDDEN: whether h' itself is what is kept.  BEFORE:
// whether the way back reads h before the step, which is then also needed as it is in the step.  OWN: parameters that
// each unit has for itself, OWN_BACK: those that the way back reads, adding to their gradients d_own.
// LATE: whether the product of the last gate reads, in place of h, what reset makes of the sums of the others.

// The N parameters that a unit has for itself, which lie `apart` values apart.
template <int N, class T> struct OfUnit {
  T values[N ? N : 1];

  __device__ __forceinline__ OfUnit(const T* first, i64 apart) {
#pragma unroll
    for (int i = 0; i < N; i++) values[i] = first[i * apart];
  }
};

template <class T> struct Elman {
  static constexpr int GATES = 1, KEPT = 1, STATES = 1, OWN = 0, OWN_BACK = 0;
  static constexpr bool HIDDEN = true, BEFORE = false, LATE = false;
  __device__ static int place(int) { return 0; }

  // h' from the sums z + p of its only gate.
  __device__ static T forward(const T* z, const T* p, T, const T*, T&, T*, i64 activation) {
    return activate(z[0] + p[0], activation);
  }

  // The gradient d[0] of the argument of f from d_h; what of it goes straight to the state before: nothing.
  __device__ static T backward(T d_h, T h, T, const T*, T, T, const T*, T&, T* d, T*, i64 activation) {
    d[0] = d_h * slope(h, activation);
    return 0;
  }
};

template <class T> struct Gru {
  static constexpr int GATES = 3, KEPT = 4, STATES = 1, OWN = 1, OWN_BACK = 0;
  static constexpr bool HIDDEN = false, BEFORE = true, LATE = false;
  __device__ static int place(int gate) { return gate < 2 ? gate : 3; }

  // kept = [r | z | n | q], q = p_n + b_n, and b_n its own.
  __device__ static T forward(const T* z, const T* p, T before, const T* own, T&, T* kept, i64) {
    T r = logistic(z[0] + p[0]), u = logistic(z[1] + p[1]), q = p[2] + own[0], n = hyperbolic(z[2] + r * q);
    kept[0] = r;
    kept[1] = u;
    kept[2] = n;
    kept[3] = q;
    return (1 - u) * n + u * before;
  }

  __device__ static T backward(T d_h, T, T before, const T* kept, T, T, const T*, T&, T* d, T*, i64) {
    T r = kept[0], u = kept[1], n = kept[2], q = kept[3];
    d[2] = d_h * (1 - u) * (1 - n * n);
    d[1] = d_h * (before - n) * u * (1 - u);
    d[0] = d[2] * q * r * (1 - r);
    d[3] = d[2] * r;
    return d_h * u;
  }
};

template <class T> struct GruBefore {
  static constexpr int GATES = 3, KEPT = 3, STATES = 1, OWN = 0, OWN_BACK = 0;
  static constexpr bool HIDDEN = false, BEFORE = true, LATE = true;

  // r h, which the product of gate n reads; kept = [r | z | n].
  __device__ static T reset(const T* z, const T* p, T before, T* kept) {
    kept[0] = logistic(z[0] + p[0]);
    return kept[0] * before;
  }
  __device__ static T forward(const T* z, const T* p, T before, const T*, T&, T* kept, i64) {
    T u = logistic(z[1] + p[1]), n = hyperbolic(z[2] + p[2]);
    kept[1] = u;
    kept[2] = n;
    return (1 - u) * n + u * before;
  }

  // The gradients of the sums of z and n, and then that of r from the gradient of r h.
  __device__ static T backward(T d_h, T, T before, const T* kept, T, T, const T*, T&, T* d, T*, i64) {
    T u = kept[1], n = kept[2];
    d[1] = d_h * (before - n) * u * (1 - u);
    d[2] = d_h * (1 - u) * (1 - n * n);
    return d_h * u;
  }
  __device__ static T reset_back(T d_reset, T before, const T* kept, T* d) {
    d[0] = d_reset * before * kept[0] * (1 - kept[0]);
    return d_reset * kept[0];
  }
};

template <class T> struct Lstm {
  static constexpr int GATES = 4, KEPT = 4, STATES = 2, OWN = 0, OWN_BACK = 0;
  static constexpr bool HIDDEN = false, BEFORE = false, LATE = false;
  __device__ static int place(int gate) { return gate; }

  // kept = [i | f | g | o]; c becomes c'.
  __device__ static T forward(const T* z, const T* p, T, const T*, T& c, T* kept, i64) {
    T i = logistic(z[0] + p[0]), f = logistic(z[1] + p[1]), g = hyperbolic(z[2] + p[2]), o = logistic(z[3] + p[3]);
    kept[0] = i;
    kept[1] = f;
    kept[2] = g;
    kept[3] = o;
    c = f * c + i * g;
    return o * hyperbolic(c);
  }

  // c: after the step, c_before: before it; d_c: the gradient of c that comes from later, becomes that of c_before.
  __device__ static T backward(T d_h, T, T, const T* kept, T c, T c_before, const T*, T& d_c, T* d, T*, i64) {
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

template <class T> struct LstmPeepholes {
  static constexpr int GATES = 4, KEPT = 4, STATES = 2, OWN = 3, OWN_BACK = 3;
  static constexpr bool HIDDEN = false, BEFORE = false, LATE = false;
  __device__ static int place(int gate) { return gate; }

  // As in an LSTM, own = [p_i | p_f | p_o].
  __device__ static T forward(const T* z, const T* p, T, const T* own, T& c, T* kept, i64) {
    T i = logistic(z[0] + p[0] + own[0] * c), f = logistic(z[1] + p[1] + own[1] * c), g = hyperbolic(z[2] + p[2]);
    c = f * c + i * g;
    T o = logistic(z[3] + p[3] + own[2] * c);
    kept[0] = i;
    kept[1] = f;
    kept[2] = g;
    kept[3] = o;
    return o * hyperbolic(c);
  }

  __device__ static T backward(T d_h, T, T, const T* kept, T c, T c_before, const T* own, T& d_c, T* d, T* d_own, i64) {
    T i = kept[0], f = kept[1], g = kept[2], o = kept[3], tanh_c = hyperbolic(c);
    d[3] = d_h * tanh_c * o * (1 - o);
    T total = d_c + d_h * o * (1 - tanh_c * tanh_c) + d[3] * own[2];
    d[0] = total * g * i * (1 - i);
    d[1] = total * c_before * f * (1 - f);
    d[2] = total * i * (1 - g * g);
    d_own[0] += d[0] * c_before;
    d_own[1] += d[1] * c_before;
    d_own[2] += d[3] * c;
    d_c = total * f + d[0] * own[0] + d[1] * own[1];
    return 0;
  }
};

template <class T> struct Leaky {
  static constexpr int GATES = 1, KEPT = 1, STATES = 1, OWN = 1, OWN_BACK = 1;
  static constexpr bool HIDDEN = false, BEFORE = true, LATE = false;
  __device__ static int place(int) { return 0; }

  // kept = [v], the value of f; own = [leak].  With leak = 1 the results are those of an Elman network to the bit.
  __device__ static T forward(const T* z, const T* p, T before, const T* own, T&, T* kept, i64 activation) {
    kept[0] = activate(z[0] + p[0], activation);
    return (1 - own[0]) * before + own[0] * kept[0];
  }

  __device__ static T backward(T d_h, T, T before, const T* kept, T, T, const T* own, T&, T* d, T* d_own,
                               i64 activation) {
    d[0] = d_h * own[0] * slope(kept[0], activation);
    d_own[0] += d_h * (kept[0] - before);
    return d_h * (1 - own[0]);
  }
};
