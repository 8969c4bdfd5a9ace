// Vector types, aligned as CUDA's (vectors of 2 and 4 as a whole, at most 16 bytes), and built-in variables.
#pragma once

#define EMULATOR_VECTOR(type, name)                                                        \
    struct alignas(2 * sizeof(type)) name##2 { type x, y; };                               \
    struct name##3 { type x, y, z; };                                                      \
    struct alignas(sizeof(type) < 4 ? 4 * sizeof(type) : 16) name##4 { type x, y, z, w; }; \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }                       \
    inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }            \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

EMULATOR_VECTOR(signed char, char)
EMULATOR_VECTOR(unsigned char, uchar)
EMULATOR_VECTOR(short, short)
EMULATOR_VECTOR(unsigned short, ushort)
EMULATOR_VECTOR(int, int)
EMULATOR_VECTOR(unsigned, uint)
EMULATOR_VECTOR(long long, longlong)
EMULATOR_VECTOR(unsigned long long, ulonglong)
EMULATOR_VECTOR(float, float)
EMULATOR_VECTOR(double, double)
#undef EMULATOR_VECTOR

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// The scheduler sets them at each switch; for a kernel they are constants, whose reading need not be checked.
#ifndef EMULATOR_RUNTIME
#define EMULATOR_BUILT_IN extern const
#else
#define EMULATOR_BUILT_IN extern
#endif
EMULATOR_BUILT_IN uint3 threadIdx, blockIdx;
EMULATOR_BUILT_IN dim3 blockDim, gridDim;
#undef EMULATOR_BUILT_IN
constexpr int warpSize = 32;
