// Tensor cores: the 32 lanes' fragments put together, multiplied and dealt out.
#include "state.h"

#include "tensor_cores.h"

namespace emulator {

int dot_s8(const unsigned* a, const unsigned* b) {
    const int8_t *x = (const int8_t*)a, *y = (const int8_t*)b;
    int sum = 0;
    for (int i = 0; i < 32; i++) sum += x[i] * y[i];
    return sum;
}

int dot_b1_and(const unsigned* a, const unsigned* b) {
    const uint64_t *x = (const uint64_t*)a, *y = (const uint64_t*)b;
    int ones = 0;
    for (int i = 0; i < 4; i++) ones += __builtin_popcountll(x[i] & y[i]);
    return ones;
}

namespace {

struct Product {
    Dot dot;
    int line;
};

void multiply(void* context, const void* const* in, void* const* out, unsigned present) {
    const auto& [dot, line] = *(const Product*)context;
    if (present != ~0u) fail("mma.sync without all lanes of the warp", line);
    unsigned a[16][8], b[8][8];
    for (int lane = 0; lane < 32; lane++) {
        const MmaIn& fragment = *(const MmaIn*)in[lane];
        const int group = lane >> 2, member = lane & 3;
        for (int r = 0; r < 4; r++) a[group + 8 * (r & 1)][member + 4 * (r >> 1)] = fragment.a[r];
        for (int r = 0; r < 2; r++) b[group][member + 4 * r] = fragment.b[r];
    }
    for (int lane = 0; lane < 32; lane++)
        for (int r = 0; r < 4; r++) {
            const int row = (lane >> 2) + 8 * (r >> 1), column = 2 * (lane & 3) + (r & 1);
            const unsigned before = ((const MmaIn*)in[lane])->c[r];  // unsigned: the sum wraps
            ((MmaOut*)out[lane])->d[r] = int(before + unsigned(dot(a[row], b[column])));
        }
}

}  // namespace

MmaOut mma_m16n8(const MmaIn& in, int line, Dot dot) {
    Quiet quiet;
    Product product{dot, line};
    MmaOut out{};
    meet(~0u, {"mma.sync", line, false}, &in, &out, multiply, &product);
    return out;
}

}  // namespace emulator
