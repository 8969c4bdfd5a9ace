// Tensor cores: the 32 lanes' fragments put together, multiplied and dealt out.
#include <math.h>

#include <limits>

#include "state.h"

#include "intrinsics.h"
#include "tensor_cores.h"

namespace emulator {

int dot_s8(int c, const unsigned* a, const unsigned* b) {
    const int8_t *x = (const int8_t*)a, *y = (const int8_t*)b;
    for (int i = 0; i < 32; i++) c = int(unsigned(c) + unsigned(x[i] * y[i]));
    return c;
}

int dot_b1_and(int c, const unsigned* a, const unsigned* b) {
    const uint64_t *x = (const uint64_t*)a, *y = (const uint64_t*)b;
    for (int i = 0; i < 4; i++) c = int(unsigned(c) + __builtin_popcountll(x[i] & y[i]));
    return c;
}

namespace {

template <int terms>
float sum(const float (&term)[terms]) {
    float total = -0.f;
    const int* order = launch.sum_order[terms == 9];
    for (int i = 0; i < terms; i++) total += term[order[i]];
    return total;
}

}  // namespace

float dot_bf16(float c, const unsigned* a, const unsigned* b) {
    float term[17] = {c};
    for (int i = 0; i < 8; i++) {
        term[2 * i + 1] = bits<float>(a[i] << 16) * bits<float>(b[i] << 16);
        term[2 * i + 2] = bits<float>(a[i] & 0xffff0000) * bits<float>(b[i] & 0xffff0000);
    }
    return sum(term);
}

float dot_tf32(float c, const unsigned* a, const unsigned* b) {
    float term[9] = {c};
    for (int i = 0; i < 8; i++) term[i + 1] = bits<float>(a[i] & ~0x1fffu) * bits<float>(b[i] & ~0x1fffu);
    return sum(term);
}

namespace {

template <class T>
struct Product {
    typename Mma<T>::Dot dot;
    int line;
};

template <class T>
void multiply(void* context, const void* const* in, void* const* out, unsigned present) {
    const auto& [dot, line] = *(const Product<T>*)context;
    if (present != ~0u) fail("mma.sync without all lanes of the warp", line);
    unsigned a[16][8], b[8][8];
    for (int lane = 0; lane < 32; lane++) {
        const auto& fragment = *(const typename Mma<T>::In*)in[lane];
        const int group = lane >> 2, member = lane & 3;
        for (int r = 0; r < 4; r++) a[group + 8 * (r & 1)][member + 4 * (r >> 1)] = fragment.a[r];
        for (int r = 0; r < 2; r++) b[group][member + 4 * r] = fragment.b[r];
    }
    for (int lane = 0; lane < 32; lane++)
        for (int r = 0; r < 4; r++) {
            const int row = (lane >> 2) + 8 * (r >> 1), column = 2 * (lane & 3) + (r & 1);
            const T before = ((const typename Mma<T>::In*)in[lane])->c[r];
            ((typename Mma<T>::Out*)out[lane])->d[r] = dot(before, a[row], b[column]);
        }
}

template <class T>
typename Mma<T>::Out meet_and_multiply(const typename Mma<T>::In& in, int line, typename Mma<T>::Dot dot) {
    Quiet quiet;
    Product<T> product{dot, line};
    typename Mma<T>::Out out{};
    meet(~0u, {"mma.sync", line, false}, &in, &out, multiply<T>, &product);
    return out;
}

}  // namespace

Mma<int>::Out mma_m16n8(const Mma<int>::In& in, int line, Mma<int>::Dot dot) {
    return meet_and_multiply<int>(in, line, dot);
}
Mma<float>::Out mma_m16n8(const Mma<float>::In& in, int line, Mma<float>::Dot dot) {
    return meet_and_multiply<float>(in, line, dot);
}

MatrixWords matrix_words(const void* row, int line) {
    Quiet quiet;
    if ((uintptr_t)row % 16) fail("ldmatrix: misaligned", line);
    if (!in_shared(row, 16)) fail("ldmatrix: not from shared memory", line);
    MatrixWords words{};
    const auto deal = [](void*, const void* const* in, void* const* out, unsigned present) {
        for (int lane = 0; lane < 32; lane++)
            for (int m = 0; m < 4; m++)
                if (present >> lane & present >> (8 * m + lane / 4) & 1)
                    ((MatrixWords*)out[lane])->word[m] = *(const unsigned* const*)in[8 * m + lane / 4] + lane % 4;
    };
    meet(~0u, {"ldmatrix", line, false}, &row, &words, deal, nullptr);
    for (const unsigned* word : words.word)
        if (!word) fail("ldmatrix without all lanes of the warp", line);
    return words;
}

}  // namespace emulator
