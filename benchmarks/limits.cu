// How fast a card issues the operations that the kernels of fastrec are made of: independent ones, from registers.
// Each thread writes what it got to out, so that nothing is left away.  rounds: times that each of 8 is issued.

constexpr int CHAINS = 8;

__device__ __forceinline__ unsigned seed() { return (blockIdx.x * blockDim.x + threadIdx.x) * 2654435769u; }

// C: the type of sums, r: that of their registers.
#define MMA(name, shape, C, r)                                                                                   \
  extern "C" __global__ void __launch_bounds__(256) name(int rounds, int* out) {                                 \
    unsigned a = seed(), b = a ^ 0x5bd1e995u;                                                                    \
    C d[CHAINS][4] = {};                                                                                         \
    for (int round = 0; round < rounds; round++) {                                                               \
      _Pragma("unroll") for (int i = 0; i < CHAINS; i++) asm volatile(                                           \
          "mma.sync.aligned." shape " {%0,%1,%2,%3},{%4,%5,%4,%5},{%5,%4},{%0,%1,%2,%3};"                        \
          : "+" r(d[i][0]), "+" r(d[i][1]), "+" r(d[i][2]), "+" r(d[i][3])                                       \
          : "r"(a), "r"(b));                                                                                     \
    }                                                                                                            \
    C sum = 0;                                                                                                   \
    for (int i = 0; i < CHAINS; i++) sum += d[i][0] + d[i][1] + d[i][2] + d[i][3];                               \
    out[blockIdx.x * blockDim.x + threadIdx.x] = int(sum);                                                       \
  }

MMA(issue_b1, "m16n8k256.row.col.s32.b1.b1.s32.and.popc", int, "r")
MMA(issue_int8, "m16n8k32.row.col.s32.s8.s8.s32", int, "r")
MMA(issue_bf16, "m16n8k16.row.col.f32.bf16.bf16.f32", float, "f")

extern "C" __global__ void __launch_bounds__(256) issue_popcount(int rounds, int* out) {
  unsigned x[CHAINS];
  for (int i = 0; i < CHAINS; i++) x[i] = seed() + i;
  for (int round = 0; round < rounds; round++) {
#pragma unroll
    for (int i = 0; i < CHAINS; i++) x[i] = __popc(x[i] ^ round);
  }
  int sum = 0;
  for (int i = 0; i < CHAINS; i++) sum += x[i];
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
