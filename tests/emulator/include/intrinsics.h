// Integer, bit and conversion intrinsics, cached loads and stores, minima and maxima.
#pragma once

#define EMULATOR_LOAD(name) \
    template <class T>      \
    __forceinline__ T name(const T* address) { return *address; }
EMULATOR_LOAD(__ldca)
EMULATOR_LOAD(__ldcg)
EMULATOR_LOAD(__ldcs)
EMULATOR_LOAD(__ldlu)
EMULATOR_LOAD(__ldcv)
#undef EMULATOR_LOAD

// The read-only path: what it reads must not be stored to in the same launch, by any thread.
#ifdef __SANITIZE_THREAD__
template <class T>
EMULATOR_UNCHECKED T __ldg(const T* address, int line = __builtin_LINE()) {
    emulator::check(address, sizeof(T), emulator::Access::read_only_load, line);
    return *address;
}
#else
template <class T>
__forceinline__ T __ldg(const T* address) { return *address; }
#endif

#define EMULATOR_STORE(name) \
    template <class T>       \
    __forceinline__ void name(T* address, std::decay_t<T> value) { *address = value; }
EMULATOR_STORE(__stwb)
EMULATOR_STORE(__stcg)
EMULATOR_STORE(__stcs)
EMULATOR_STORE(__stwt)
#undef EMULATOR_STORE

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline unsigned long long __brevll(unsigned long long x) {
    unsigned long long reversed = 0;
    for (int bit = 0; bit < 64; bit++) reversed |= (x >> bit & 1) << (63 - bit);
    return reversed;
}
inline unsigned __brev(unsigned x) { return unsigned(__brevll(x) >> 32); }

inline int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
inline long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

namespace emulator {

template <class To, class From>
To bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

template <class T>
T opaque(T x) {
    asm("" : "+x"(x));
    return x;
}

}  // namespace emulator

inline int __dp4a(int a, int b, int c) {
    unsigned sum = c;  // wraps
    for (int shift = 0; shift < 32; shift += 8) sum += int8_t(a >> shift) * int8_t(b >> shift);
    return int(sum);
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
    for (int shift = 0; shift < 32; shift += 8) c += (a >> shift & 255) * (b >> shift & 255);
    return c;
}

inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return unsigned((((unsigned long long)high << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return unsigned(((unsigned long long)high << 32 | low) >> (shift & 31));
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    const unsigned long long bytes = (unsigned long long)b << 32 | a;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned select = selector >> 4 * i, byte = bytes >> 8 * (select & 7) & 255;
        result |= (select & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;  // bit 3 spreads the byte's sign
    }
    return result;
}

inline int __float_as_int(float x) { return emulator::bits<int>(x); }
inline unsigned __float_as_uint(float x) { return emulator::bits<unsigned>(x); }
inline float __int_as_float(int x) { return emulator::bits<float>(x); }
inline float __uint_as_float(unsigned x) { return emulator::bits<float>(x); }
inline long long __double_as_longlong(double x) { return emulator::bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulator::bits<double>(x); }

namespace emulator {

// The integer that a rounded value is, the nearest there is to one out of range, 0 for NaN.
template <class To, class From>
To to_integer(From x) {
    using Limits = std::numeric_limits<To>;
    if (x != x) return 0;
    if (x >= From(Limits::max())) return Limits::max();
    if (x <= From(Limits::min())) return Limits::min();
    return To(x);
}

}  // namespace emulator

#define EMULATOR_TO_INTEGER(from, to, name)                                                          \
    inline to __##from##2##name##_rn(from x) { return emulator::to_integer<to>(std::nearbyint(x)); } \
    inline to __##from##2##name##_rz(from x) { return emulator::to_integer<to>(std::trunc(x)); }     \
    inline to __##from##2##name##_rd(from x) { return emulator::to_integer<to>(std::floor(x)); }     \
    inline to __##from##2##name##_ru(from x) { return emulator::to_integer<to>(std::ceil(x)); }
EMULATOR_TO_INTEGER(float, int, int)
EMULATOR_TO_INTEGER(float, unsigned, uint)
EMULATOR_TO_INTEGER(float, long long, ll)
EMULATOR_TO_INTEGER(float, unsigned long long, ull)
EMULATOR_TO_INTEGER(double, int, int)
EMULATOR_TO_INTEGER(double, unsigned, uint)
EMULATOR_TO_INTEGER(double, long long, ll)
EMULATOR_TO_INTEGER(double, unsigned long long, ull)
#undef EMULATOR_TO_INTEGER

inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }
inline float __ll2float_rn(long long x) { return float(x); }
inline float __ull2float_rn(unsigned long long x) { return float(x); }
inline double __int2double_rn(int x) { return x; }
inline double __uint2double_rn(unsigned x) { return x; }
inline double __ll2double_rn(long long x) { return double(x); }
inline double __ull2double_rn(unsigned long long x) { return double(x); }
inline float __double2float_rn(double x) { return float(x); }

// A card's approximations are exact.  The compiler must not contract what it cannot see.
#define EMULATOR_ARITHMETIC(type, prefix, fma_name)                                    \
    inline type __##prefix##add_rn(type a, type b) { return emulator::opaque(a + b); } \
    inline type __##prefix##sub_rn(type a, type b) { return emulator::opaque(a - b); } \
    inline type __##prefix##mul_rn(type a, type b) { return emulator::opaque(a * b); } \
    inline type __##prefix##div_rn(type a, type b) { return a / b; }                   \
    inline type __##prefix##rcp_rn(type x) { return 1 / x; }                           \
    inline type __##prefix##sqrt_rn(type x) { return std::sqrt(x); }                   \
    inline type fma_name(type a, type b, type c) { return std::fma(a, b, c); }
EMULATOR_ARITHMETIC(float, f, __fmaf_rn)
EMULATOR_ARITHMETIC(double, d, __fma_rn)
#undef EMULATOR_ARITHMETIC
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float __frsqrt_rn(float x) { return float(1 / sqrt(double(x))); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __tanhf(float x) { return tanhf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float x) { return x > 0 ? fminf(x, 1) : 0; }

template <class A, class B>
auto min(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>)
        return T(fmin(T(a), T(b)));
    else
        return T(b) < T(a) ? T(b) : T(a);
}
template <class A, class B>
auto max(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>)
        return T(fmax(T(a), T(b)));
    else
        return T(a) < T(b) ? T(b) : T(a);
}

[[noreturn]] inline void __trap(int line = __builtin_LINE()) { emulator::fail("__trap()", line); }
