// mma.m16n8 on fragments of 32-bit registers, laid out among the lanes as PTX says.
#pragma once

namespace emulator {

struct MmaIn {
    int c[4];
    unsigned a[4], b[2];
};
struct MmaOut {
    int d[4];
};

// What is added to C for a row of A and a column of B, eight words each.
using Dot = int (*)(const unsigned* a, const unsigned* b);
int dot_s8(const unsigned* a, const unsigned* b);      // m16n8k32, of signed bytes
int dot_b1_and(const unsigned* a, const unsigned* b);  // m16n8k256, the ones that both have

MmaOut mma_m16n8(const MmaIn& in, int line, Dot dot);

}  // namespace emulator
