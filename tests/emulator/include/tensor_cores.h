// mma.m16n8 on fragments of 32-bit registers, laid out among the lanes as PTX says, the types it takes, and ldmatrix.
#pragma once

namespace emulator {

template <class T>
struct Mma {
    struct In {
        T c[4];
        unsigned a[4], b[2];
    };
    struct Out {
        T d[4];
    };
    using Dot = T (*)(T c, const unsigned* a, const unsigned* b);
};
using MmaIn = Mma<int>::In;

// An element of C plus a row of A times a column of B, eight words each.  A sum of floats rounds after each
// product, which is exact; a card's has no stated order: here C's and the columns' in turn, or backward, or shuffled
// by the seed of the schedule.
int dot_s8(int c, const unsigned* a, const unsigned* b);        // m16n8k32, of signed bytes; wraps
int dot_b1_and(int c, const unsigned* a, const unsigned* b);    // m16n8k256, the ones that both have; wraps
float dot_bf16(float c, const unsigned* a, const unsigned* b);  // m16n8k16
float dot_tf32(float c, const unsigned* a, const unsigned* b);  // m16n8k8, without the words' lower 13 bits

Mma<int>::Out mma_m16n8(const Mma<int>::In& in, int line, Mma<int>::Dot dot);
Mma<float>::Out mma_m16n8(const Mma<float>::In& in, int line, Mma<float>::Dot dot);

// Twin of ldmatrix.x4: the word of each of four matrices of 8 rows of 16 bytes that this lane reads; lane l names row
// l % 8 of matrix l / 8.
struct MatrixWords {
    const unsigned* word[4];
};
MatrixWords matrix_words(const void* row, int line = __builtin_LINE());

// Twins of cvt.rn.bf16.f32 and cvt.rna.tf32.f32.
inline unsigned short to_bf16(float x) {
    const unsigned word = bits<unsigned>(x);
    return x != x ? 0x7fff : (word + 0x7fff + (word >> 16 & 1)) >> 16;
}
inline unsigned to_tf32(float x) {
    const unsigned word = bits<unsigned>(x);
    return x != x ? 0x7fffffff : (word & 0x7f800000) == 0x7f800000 ? word : (word + 0x1000) & ~0x1fffu;
}

}  // namespace emulator
