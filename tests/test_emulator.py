"""The emulator of CUDA kernels: right kernels pass under every schedule, planted bugs are found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import emulator
import numpy as np
import nvrtc
import pytest
from emulator import cupy, errors, raw

pytestmark = pytest.mark.skipif(
    emulator.unavailable_reason() is not None, reason=str(emulator.unavailable_reason())
)

RIGHT = r"""
template <class T>
__global__ void __launch_bounds__(128) total(const T* __restrict__ x, long long n, unsigned long long* sum) {
    __shared__ long long partial[4];
    long long value = 0;
    for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        value += __ldg(x + i);
#pragma unroll
    for (int distance = 16; distance; distance >>= 1) value += __shfl_down_sync(~0u, value, distance);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int warp = 1; warp < blockDim.x / 32; warp++) value += partial[warp];
        atomicAdd(sum, (unsigned long long)value);
    }
}

// Rows of 64 reversed, each brought by cp.async while the row before it is written.
template <bool twice>
__global__ void reverse(const int* x, int* y, long long rows) {
    extern __shared__ __align__(16) unsigned char shared[];
    int* buffer = reinterpret_cast<int*>(shared);
    const int column = 4 * threadIdx.x;
    const auto fetch = [&](long long row) {
        if (row < rows && threadIdx.x < 16)
            emulator::copy_async(buffer + row % 2 * 64 + column, x + row * 64 + column, 16, 16);
        emulator::copy_async_commit();
    };
    fetch(0);
    for (long long row = 0; row < rows; row++) {
        fetch(row + 1);
        emulator::copy_async_wait(1);
        __syncthreads();
        y[row * 64 + threadIdx.x] = buffer[row % 2 * 64 + 63 - threadIdx.x] * (twice ? 2 : 1);
        __syncthreads();
    }
}

__device__ void grid_barrier(unsigned* arrived, unsigned round) {
    __syncthreads();
    if (threadIdx.x == 0) {
        emulator::add_release(arrived, 1);
        while (emulator::load_acquire(arrived) < round * gridDim.x) __nanosleep(20);
    }
    __syncthreads();
}

// Every thread adds its two neighbours in a ring, again and again; its own number waits in shared memory.
extern "C" __global__ void ring(int* a, int* b, unsigned* arrived, long long rounds) {
    __shared__ int own[32];
    const int n = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
    own[threadIdx.x] = i;
    for (unsigned round = 1; round <= rounds; round++) {
        b[i] = a[(i + 1) % n] + a[(i + n - 1) % n];
        grid_barrier(arrived, round);
        int* const swapped = a;
        a = b;
        b = swapped;
    }
    b[i] = own[threadIdx.x];
}

// Every thread adds up what all have posted, again and again; the upper half of a word is its step.
extern "C" __global__ void post(unsigned* x, unsigned long long* words, long long steps) {
    const int n = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned value = x[i];
    for (unsigned long long step = 1; step <= steps; step++) {
        unsigned long long* const posted = words + step % 2 * n;  // free: all read step - 1 to post step
        emulator::store_relaxed(posted + i, step << 32 | value);
        for (int j = 0; j < n; j++) {
            unsigned long long word;
            while ((word = emulator::load_relaxed(posted + j)) >> 32 != step) __nanosleep(20);
            value += (j + 1) * unsigned(word);
        }
    }
    x[i] = value;
}

// 16 bytes at a time through shared memory.
struct __align__(16) Four { unsigned a, b; float c, d; };
extern "C" __global__ void vectors(const uint4* x, Four* y) {
    __shared__ uint4 held[32];
    held[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    const uint4 other = held[31 - threadIdx.x];
    const Four four = *reinterpret_cast<const Four*>(held + (threadIdx.x ^ 1));
    y[threadIdx.x] = {other.x + other.w, four.b, __uint_as_float(other.y), four.d};
}

// The block that comes last adds what all have written before.
extern "C" __global__ void last_block(const int* x, int* partial, unsigned* count, int* sum) {
    __shared__ bool last;
    const int value = __reduce_add_sync(~0u, x[blockIdx.x * 32 + threadIdx.x]);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = value;
        __threadfence();
        last = atomicAdd(count, 1) == gridDim.x - 1;
        __threadfence();
    }
    __syncthreads();
    if (last && threadIdx.x == 0)
        for (int block = 0; block < gridDim.x; block++) *sum += partial[block];
}

// C[16, 8] = A[16, words] B[8, words]^T by one warp.
template <bool bits>
__global__ void product(const unsigned* A, const unsigned* B, int* C, long long words) {
    const int group = threadIdx.x >> 2, member = threadIdx.x & 3;
    int d[4] = {};
    for (int k = member; k < words; k += 8) {
        const unsigned a[4] = {A[group * words + k], A[(group + 8) * words + k], A[group * words + k + 4],
                               A[(group + 8) * words + k + 4]};
        const unsigned b[2] = {B[group * words + k], B[group * words + k + 4]};
        const emulator::MmaIn in{{d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
        const auto out = emulator::mma_m16n8(in, __LINE__, bits ? emulator::dot_b1_and : emulator::dot_s8);
        for (int i = 0; i < 4; i++) d[i] = out.d[i];
    }
    for (int i = 0; i < 4; i++) C[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)] = d[i];
}

extern "C" __global__ void intrinsics(const unsigned long long* x, long long* out) {
    const unsigned long long a = x[0];
    const unsigned low = unsigned(a), high = unsigned(a >> 32);
    int i = 0;
    out[i++] = __popc(low);
    out[i++] = __popcll(a);
    out[i++] = __ffs(low << 3);
    out[i++] = __ffsll(a << 40);
    out[i++] = __clz(low >> 5);
    out[i++] = __clzll(a >> 9);
    out[i++] = __brev(low);
    out[i++] = __brevll(a);
    out[i++] = __umulhi(low, high);
    out[i++] = __umul64hi(a, ~a);
    out[i++] = __mulhi(int(low), int(high));
    out[i++] = __dp4a(int(low), int(high), -5);
    out[i++] = __funnelshift_l(low, high, 7);
    out[i++] = __funnelshift_r(low, high, 7);
    out[i++] = __byte_perm(low, high, 0x7210);
    out[i++] = llabs(-3ll) + abs(-4) + min(7, 9u) + max(-1ll, 2);
    __stcg((uint4*)(out + i), make_uint4(1, 2, 3, 4));
    const ulonglong2 pair = __ldcg((const ulonglong2*)x);
    out[i + 2] = pair.x ^ pair.y;
}

extern "C" __global__ void shared_atomics(unsigned long long* out, int* low) {
    __shared__ unsigned long long sum, most, bits;
    __shared__ int least;
    if (threadIdx.x == 0) {
        sum = most = bits = 0;
        least = 1000;
    }
    __syncthreads();
    atomicAdd(&sum, threadIdx.x + 0ull);
    atomicMax(&most, threadIdx.x + 0ull);
    atomicOr(&bits, 1ull << threadIdx.x % 64);
    atomicMin(&least, int(threadIdx.x) - 5);
    __syncthreads();
    const int odd = __syncthreads_count(threadIdx.x & 1);
    const bool some = __syncthreads_or(threadIdx.x == 70), every = __syncthreads_and(threadIdx.x != 70);
    if (threadIdx.x == 0) {
        out[0] = sum;
        out[1] = most;
        out[2] = bits;
        out[3] = odd;
        out[4] = some + 2 * every;
        *low = least;
    }
    const unsigned votes = __ballot_sync(~0u, threadIdx.x & 4);
    const unsigned long long neighbour = __shfl_xor_sync(~0u, 1ull << threadIdx.x % 32, 1);
    const float third = __shfl_sync(~0u, float(threadIdx.x), 3, 8);
    assert(votes == 0xf0f0f0f0u);
    assert(neighbour == 1ull << (threadIdx.x % 32 ^ 1));
    assert(third == (threadIdx.x & ~7) + 3);
    assert(__any_sync(~0u, threadIdx.x == 33) == (threadIdx.x / 32 == 1));
}
"""

# Kernels that use the functions of fastrec's own headers, and nothing that only the emulator has.
WITH_HEADERS = r"""
// Every block sums all of its cluster and sends the sum to the next one, again and again.
template <int size>
__global__ void __cluster_dims__(size) __launch_bounds__(64) pass_on(const int* x, int* y, i64 steps) {
    __shared__ int held[2][64];
    const u32 rank = cluster_rank(), t = threadIdx.x;
    held[0][t] = x[blockIdx.x * 64 + t];
    cluster_barrier();
    for (i64 step = 0; step < steps; step++) {
        int sum = rank;
        for (u32 r = 0; r < cluster_size(); r++) sum += (r + 1) * map_shared(held[step % 2], r)[63 - t];
        *map_shared(&held[(step + 1) % 2][t], (rank + 1) % size) = sum;
        cluster_barrier();
    }
    y[blockIdx.x * 64 + t] = held[steps % 2][t];
}

// The opposite corner of a cluster tells its place by dynamic shared memory and by global memory.
extern "C" __global__ void __cluster_dims__(2, 2) corners(int* x, int* y) {
    extern __shared__ int s[];
    const int block = blockIdx.x + gridDim.x * blockIdx.y, i = block * 32 + threadIdx.x;
    s[threadIdx.x] = block;
    x[i] = i;
    if (threadIdx.x == 0) s[64] = 0;
    cluster_arrive();
    s[32 + threadIdx.x] = threadIdx.x;
    cluster_wait();
    y[i] = 100 * map_shared(s, 3 - cluster_rank())[threadIdx.x];
    y[i] += x[((blockIdx.x ^ 1) + gridDim.x * (blockIdx.y ^ 1)) * 32] + s[32 + threadIdx.x];
    atomicAdd(map_shared(s, 0) + 64, 1);
    cluster_barrier();
    if (cluster_rank() == 0) y[i] += 1000 * s[64];
}

// Each cluster adds up its blocks, and all blocks the clusters.
extern "C" __global__ void __cluster_dims__(2, 1, 1) add_up(const int* x, int* partial, int* y,
                                                                 u32* arrived) {
    __shared__ int own;
    const int sum = __reduce_add_sync(ALL, x[blockIdx.x * 32 + threadIdx.x]);
    if (threadIdx.x == 0) own = sum;
    cluster_barrier();
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = cluster_rank() ? 0 : own + *map_shared(&own, 1);
        arrive(arrived);
        while (arrivals(arrived) < gridDim.x) __nanosleep(20);
    }
    cluster_barrier();
    int all = 0;
    for (int block = 0; block < gridDim.x; block++) all += partial[block];
    y[blockIdx.x * 32 + threadIdx.x] = all;
}

// Each of two blocks gets the numbers of the other, and learns by a flag that they have come.
extern "C" __global__ void __cluster_dims__(2) signal(const int* x, int* y) {
    __shared__ int held[64];
    __shared__ u32 come;
    if (threadIdx.x == 0) come = 0;
    cluster_barrier();
    const int i = blockIdx.x * 64 + threadIdx.x, other = cluster_rank() ^ 1;
    map_shared(held, other)[threadIdx.x] = x[i];
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(map_shared(&come, other), 1);
        while (atomicAdd(&come, 0) == 0) __nanosleep(20);
        __threadfence();
    }
    __syncthreads();
    y[i] = held[63 - threadIdx.x];
    cluster_barrier();
}

// Every block stores what it has to all of its cluster and goes on with a sum of what came, several times.
template <int size>
__global__ void __cluster_dims__(size) __launch_bounds__(64) tell_all(const uint4* x, uint4* y, i64 steps) {
    extern __shared__ __align__(16) unsigned char memory[];
    u64* arrivals = reinterpret_cast<u64*>(memory);
    uint4* held = reinterpret_cast<uint4*>(memory + 16);  // (2, size, 64)
    const u32 rank = cluster_rank(), t = threadIdx.x;
    if (t < 2) init_arrivals(arrivals + t);
    cluster_barrier();
    uint4 own = x[blockIdx.x * 64 + t];
    for (i64 step = 0; step < steps; step++) {
        u64* counted = arrivals + step % 2;
        uint4* now = held + step % 2 * size * 64;
        if (t == 0) expect_bytes(counted, size * 64 * 16);
        for (u32 r = 0; r < size; r++) store_to(r, now + rank * 64 + t, own, counted);
        wait_for_bytes(counted, step / 2 % 2);
        own = {0, 0, 0, 0};
        for (u32 r = 0; r < size; r++) {
            const uint4 other = now[r * 64 + 63 - t];
            own.x += (r + 1) * other.x;
            own.y += other.z;
            own.z += r * other.y;
            own.w ^= other.w;
        }
        __syncthreads();
    }
    cluster_barrier();
    y[blockIdx.x * 64 + t] = own;
}

// C[16, 8] = C + A[16, columns] B[8, columns]^T by one warp.
template <bool tf32>
__global__ void float_product(const float* A, const float* B, float* C, i64 columns) {
    const int group = threadIdx.x >> 2, member = threadIdx.x & 3;
    const auto word = [=](const float* row, int i) {
        return tf32 ? to_tf32(row[i]) : to_bf16(row[2 * i], row[2 * i + 1]);
    };
    float d[4];
    for (int i = 0; i < 4; i++) d[i] = C[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)];
    for (int k = 0; k < columns; k += tf32 ? 8 : 16) {
        const float *upper = A + group * columns + k, *lower = upper + 8 * columns;
        const float* right = B + group * columns + k;
        const u32 a[4] = {word(upper, member), word(lower, member), word(upper, member + 4),
                          word(lower, member + 4)};
        const u32 b[2] = {word(right, member), word(right, member + 4)};
        tf32 ? mma_tf32(d, a, b) : mma_bf16(d, a, b);
    }
    for (int i = 0; i < 4; i++) C[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)] = d[i];
}

// The words of four matrices, whose rows the lanes name in another order.
extern "C" __global__ void matrices(const u32* x, u32* y) {
    __shared__ __align__(16) u32 held[128];
    for (int i = threadIdx.x; i < 128; i += 32) held[i] = x[i];
    __syncthreads();
    u32 words[4];
    load_matrices(words, held + threadIdx.x * 5 % 32 * 4);
    for (int i = 0; i < 4; i++) y[4 * threadIdx.x + i] = words[i];
}

extern "C" __global__ void convert(const float* x, u32* bf16, u32* pairs, float* back, u32* tf32) {
    const int i = threadIdx.x;
    bf16[i] = to_bf16(x[i]);
    pairs[i] = to_bf16(x[i], 1.f);
    back[i] = from_bf16(to_bf16(x[i]));
    tf32[i] = to_tf32(x[i]);
}

__device__ float reciprocal(float x) {
    return __fdividef(1.f, x) + 0 * (expf(x) + tanhf(x) + fmaf(x, x, x) + rsqrtf(x));
}
__device__ double reciprocal(double x) { return __drcp_rn(x); }

template <class T>
__global__ void functions(const T* x, T* y) {
    const T a = x[threadIdx.x];
    T* out = y + 8 * threadIdx.x;
    out[0] = exp(a);
    out[1] = tanh(a);
    out[2] = fma(a, a, -a * a);
    out[3] = rsqrt(a);
    out[4] = reciprocal(a);
    out[5] = isfinite(exp(1000 * a)) + 2 * isnan(log(-a)) + 4 * isinf(a);
    out[6] = max(a, T(1)) + min(a, T(2)) + log1p(a) + expm1(a) + fabs(-a) + sqrt(a) + copysign(a, T(-1));
    out[7] = __float2int_rn(float(100 * a)) + __float2int_rz(float(a)) + __float2ll_rd(-float(a)) +
             __double2int_ru(a) + __float2uint_rn(-5.f) + __int2float_rn(7) +
             (__float2int_rn(1e20f) == 0x7fffffff);
}
"""

NAMES = (
    "total<signed char>",
    "total<int>",
    "reverse<false>",
    "reverse<true>",
    "product<false>",
    "product<true>",
)
right = raw.RawModule(code=RIGHT, name_expressions=NAMES)
together = raw.RawModule(code=RIGHT, name_expressions=NAMES, enable_cooperative_groups=True)

HEADERS = "".join(
    re.sub(r"#pragma once|#include .*", "", (files("fastrec.kernels.gpu") / "cuda" / name).read_text())
    for name in ("common.cuh", "barrier.cuh", "cluster.cuh", "mma.cuh")
)
# What no kernel of fastrec uses yet.
MORE = r"""
// Number of this block in its cluster, and of all its blocks.
__device__ __forceinline__ u32 cluster_rank() {
#ifdef FASTREC_EMULATOR
  return emulator::cluster_rank();
#elif __CUDA_ARCH__ >= 900
  u32 rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#else
  return 0;
#endif
}
__device__ __forceinline__ u32 cluster_size() {
#ifdef FASTREC_EMULATOR
  return emulator::cluster_size();
#elif __CUDA_ARCH__ >= 900
  u32 size;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
#else
  return 1;
#endif
}

// The same place in the shared memory of another block of the cluster, for plain loads and stores.
template <class T> __device__ __forceinline__ T* map_shared(T* own, u32 rank) {
#ifdef FASTREC_EMULATOR
  return emulator::map_shared(own, rank);
#elif __CUDA_ARCH__ >= 900
  u64 there;
  asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(own), "r"(rank));
  return reinterpret_cast<T*>(there);
#else
  return own;
#endif
}

// The barrier of a cluster in two halves.
__device__ __forceinline__ void cluster_arrive() {
  __syncwarp();  // all lanes arrive as one
#ifdef FASTREC_EMULATOR
  emulator::cluster_arrive();
#elif __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void cluster_wait() {
#ifdef FASTREC_EMULATOR
  emulator::cluster_wait();
#elif __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
  __syncthreads();
#endif
}
"""
HEADED = (
    *("pass_on<1>", "pass_on<3>", "pass_on<8>", "corners", "add_up", "matrices", "convert", "signal"),
    *("tell_all<1>", "tell_all<2>", "tell_all<8>"),
    *("float_product<false>", "float_product<true>", "functions<float>", "functions<double>"),
)
headed = raw.RawModule(code=HEADERS + MORE + WITH_HEADERS, name_expressions=HEADED)
headed_together = raw.RawModule(
    code=HEADERS + MORE + WITH_HEADERS, name_expressions=HEADED, enable_cooperative_groups=True
)

SCHEDULES = [("forward", 0), ("backward", 0), ("random", 0), ("random", 1), ("random", 2)]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "checked"])
def checking(request: pytest.FixtureRequest) -> Iterator[bool]:
    with raw.checked(request.param):
        yield request.param


@pytest.fixture(params=SCHEDULES, ids=lambda schedule: "-".join(map(str, schedule)))
def scheduled(request: pytest.FixtureRequest, checking: bool) -> Iterator[None]:
    """Every schedule, with checks and without."""
    with raw.schedule(*request.param):
        yield


def device(array: Any) -> Any:
    return cupy.asarray(np.asarray(array))


def random(*arguments: Any, **options: Any) -> np.ndarray:
    return np.random.default_rng(0).integers(*arguments, **options)


@pytest.mark.usefixtures("scheduled")
@pytest.mark.parametrize("dtype", ["int8", "int32"])
def test_sum(dtype: str) -> None:
    x, result = random(-100, 100, 5000).astype(dtype), device(np.zeros(1, np.uint64))
    name = "total<signed char>" if dtype == "int8" else "total<int>"
    right.get_function(name)((5,), (128,), (device(x), x.size, result))
    assert result.get().astype(np.int64)[0] == x.sum(dtype=np.int64)


@pytest.mark.usefixtures("scheduled")
def test_asynchronous_copies() -> None:
    x = random(0, 1000, (7, 64), dtype=np.int32)
    y = device(np.zeros_like(x))
    right.get_function("reverse<true>")((1,), (64,), (device(x), y, len(x)), shared_mem=512)
    assert np.array_equal(y.get(), 2 * x[:, ::-1])


@pytest.mark.usefixtures("scheduled")
def test_cooperative_launch() -> None:
    a = random(0, 10, 160, dtype=np.int32)
    expected = a
    for _ in range(4):
        expected = np.roll(expected, 1) + np.roll(expected, -1)
    first, second = device(a), device(np.zeros_like(a))
    together.get_function("ring")((5,), (32,), (first, second, device(np.zeros(1, np.uint32)), 4))
    assert np.array_equal(first.get(), expected)
    assert np.array_equal(second.get(), np.arange(160))


def run_ring(blocks: int) -> None:
    a, b = (device(np.ones(blocks * 32, np.int32)) for _ in range(2))
    together.get_function("ring")((blocks,), (32,), (a, b, device(np.zeros(1, np.uint32)), 1))


def test_cooperative_grids_are_reduced() -> None:
    """By CuPy, with a warning, to what runs at once."""
    run_ring(96)
    with pytest.warns(UserWarning, match="The grid size will be reduced from 98 to 96, as the specified"):
        run_ring(98)
    kernel = together.get_function("reverse<true>")
    kernel.max_dynamic_shared_size_bytes = 100 << 10
    x = device(np.ones(64, np.int32))
    for shared, blocks in ((512, 3 * 32), (50 << 10, 3 * 4), (100 << 10, 3 * 2)):
        kernel((blocks,), (64,), (x, x, 0), shared_mem=shared)
        with pytest.warns(UserWarning, match=f"from {blocks + 1} to {blocks},"):
            kernel((blocks + 1,), (64,), (x, x, 0), shared_mem=shared)
    with pytest.raises(ValueError, match=r"grid size \(4 \* 2 \* 1\) exceeds the limit \(6\)"):
        kernel((4, 2), (64,), (x, x, 0), shared_mem=100 << 10)


def test_cooperative_launch_on_a_busy_card() -> None:
    """It fails as a whole, and harms nothing."""
    with raw.busy(1):
        run_ring(64)
        with pytest.raises(cupy.cuda.driver.CUDADriverError, match=r"65 blocks .* do not fit") as report:
            run_ring(65)
    assert report.value.status == 720
    run_ring(65)


@pytest.mark.parametrize("order", raw.ORDERS)
def test_blocks_that_wait_for_blocks_not_resident(order: str) -> None:
    x, words = device(np.ones(8 * 32, np.uint32)), device(np.zeros(2 * 8 * 32, np.uint64))
    with raw.schedule(order), pytest.raises(raw.EmulationError, match="for what no resident block does"):
        right.get_function("post")((8,), (32,), (x, words, 1))


@pytest.mark.usefixtures("scheduled")
def test_words_with_flags() -> None:
    x = random(0, 1 << 32, 160, dtype=np.uint32)
    expected, result = x, device(x)
    for _ in range(5):
        expected = expected + (expected * np.arange(1, 161, dtype=np.uint32)).sum(dtype=np.uint32)
    together.get_function("post")((5,), (32,), (result, device(np.zeros(320, np.uint64)), 5))
    assert np.array_equal(result.get(), expected)


def test_relaxed_stores_are_seen_in_any_order(checking: bool) -> None:
    """A word tells nothing of another one, unless there are fences between."""
    code = """extern "C" __global__ void message(unsigned long long* words, long long fenced) {
        if (blockIdx.x) {
            emulator::store_relaxed(words, 7);
            if (fenced) __threadfence();
            emulator::store_relaxed(words + 1, 1);
            while (emulator::load_relaxed(words + 3) == 0) __nanosleep(20);
        } else {
            while (emulator::load_relaxed(words + 1) == 0) __nanosleep(20);
            if (fenced) __threadfence();
            emulator::store_relaxed(words + 2, emulator::load_relaxed(words));
            emulator::store_relaxed(words + 3, 1);
        }
    }"""
    kernel = raw.RawModule(code=code, enable_cooperative_groups=True).get_function("message")
    for fenced in (False, True):
        seen = set()
        for seed in range(16):
            words = device(np.zeros(4, np.uint64))
            with raw.schedule("random", seed):
                kernel((2,), (1,), (words, int(fenced)))
            assert words.get()[[0, 1, 3]].tolist() == [7, 1, 1]
            seen.add(int(words.get()[2]))
        assert seen == ({7} if fenced else {0, 7})


@pytest.mark.usefixtures("scheduled")
def test_vectors() -> None:
    x, result = random(0, 1 << 30, (32, 4), dtype=np.uint32), device(np.zeros((32, 4), np.uint32))
    right.get_function("vectors")((1,), (32,), (device(x), result))
    other, four = x[::-1], x.reshape(16, 2, 4)[:, ::-1].reshape(32, 4)
    expected = [other[:, 0] + other[:, 3], four[:, 1], other[:, 1], four[:, 3]]
    assert np.array_equal(result.get(), np.transpose(expected))


@pytest.mark.usefixtures("scheduled")
def test_last_block() -> None:
    x, result = random(0, 10, 9 * 32, dtype=np.int32), device(np.zeros(1, np.int32))
    partial, count = device(np.zeros(9, np.int32)), device(np.zeros(1, np.uint32))
    right.get_function("last_block")((9,), (32,), (device(x), partial, count, result))
    assert result.get()[0] == x.sum()


@pytest.mark.usefixtures("scheduled")
def test_tensor_cores() -> None:
    a, b = random(-128, 128, (16, 96)).astype(np.int8), random(-128, 128, (8, 96)).astype(np.int8)
    c = device(np.zeros((16, 8), np.int32))
    right.get_function("product<false>")(
        (1,), (32,), (device(a.view(np.uint32)), device(b.view(np.uint32)), c, 24)
    )
    assert np.array_equal(c.get(), a.astype(int) @ b.T.astype(int))
    a, b = random(0, 1 << 32, (16, 16), dtype=np.uint32), random(0, 1 << 32, (8, 16), dtype=np.uint32)
    right.get_function("product<true>")((1,), (32,), (device(a), device(b), c, 16))
    assert np.array_equal(c.get(), np.bitwise_count(a[:, None] & b).sum(axis=-1))


@pytest.mark.usefixtures("scheduled")
def test_matrices() -> None:
    x, y = random(0, 1 << 32, (32, 4), dtype=np.uint32), device(np.zeros((32, 4), np.uint32))
    headed.get_function("matrices")((1,), (32,), (device(x), y))
    rows = x[np.arange(32) * 5 % 32].reshape(4, 32)  # matrices, and the words of their rows
    assert np.array_equal(y.get(), rows.T)


@pytest.mark.usefixtures("scheduled")
@pytest.mark.parametrize("size", [1, 3, 8])
def test_clusters(size: int) -> None:
    x = random(0, 10, (2, size, 64), dtype=np.int32)
    y = device(np.zeros_like(x))
    headed.get_function(f"pass_on<{size}>")((2 * size,), (64,), (device(x), y, 3))
    ranks, expected = np.arange(size)[:, None], x
    for _ in range(3):
        sums = ((ranks + 1) * expected[:, :, ::-1]).sum(axis=1, keepdims=True) + ranks
        expected = np.roll(sums, 1, axis=1)
    assert np.array_equal(y.get(), expected)


@pytest.mark.usefixtures("scheduled")
def test_flags_in_a_cluster() -> None:
    x = random(0, 10, (3, 2, 64), dtype=np.int32)
    y = device(np.zeros_like(x))
    headed.get_function("signal")((6,), (64,), (device(x), y))
    assert np.array_equal(y.get(), x[:, ::-1, ::-1])


@pytest.mark.usefixtures("scheduled")
def test_clusters_of_two_dimensions() -> None:
    x, y = device(np.zeros((4, 6, 32), np.int32)), device(np.zeros((4, 6, 32), np.int32))
    headed.get_function("corners")((6, 4), (32,), (x, y), shared_mem=260)
    rows, columns, lanes = np.ogrid[:4, :6, :32]
    expected = ((columns ^ 1) + 6 * (rows ^ 1)) * 132 + lanes
    expected = expected + np.where((rows % 2 == 0) & (columns % 2 == 0), 128000, 0)
    assert np.array_equal(y.get(), expected)


@pytest.mark.usefixtures("scheduled")
def test_clusters_of_a_cooperative_launch() -> None:
    x = random(0, 10, 8 * 32, dtype=np.int32)
    partial, y = device(np.zeros(8, np.int32)), device(np.zeros_like(x))
    arguments = (device(x), partial, y, device(np.zeros(1, np.uint32)))
    headed_together.get_function("add_up")((8,), (32,), arguments)
    assert (y.get() == x.sum()).all()


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.skipif(not nvrtc.compilers(), reason=f"compiling needs {nvrtc.WHEELS[0]}")
def test_headers_compile(arch: str) -> None:
    program = nvrtc.compilers()[0].compile(headed.code, HEADED, arch, ["-std=c++17"])
    assert not program.warnings and not any(kernel.stack or kernel.spilled for kernel in program.kernels)
    for kernel in program.kernels:
        assert headed.get_function(kernel.name).shared_size_bytes == kernel.shared


def test_wrong_clusters() -> None:
    x = device(np.zeros(64, np.int32))
    with pytest.raises(raw.EmulationError, match=r"\(4, 1, 1\) blocks for clusters of \(3, 1, 1\)"):
        headed.get_function("pass_on<3>")((4,), (64,), (x, x, 1))
    code = 'extern "C" __global__ void __cluster_dims__(4, 4) many() {}'
    with pytest.raises(raw.EmulationError, match=r"clusters of \(4, 4, 1\) blocks; 8 at most"):
        raw.RawModule(code=code).get_function("many")((4, 4), (1,), ())
    with pytest.raises(raw.EmulationError, match="__cluster_dims__ elsewhere"):
        raw.RawModule(code="#define CLUSTER __cluster_dims__(2)").compile()


def rounded(x: np.ndarray, dropped: int, even: bool) -> np.ndarray:
    """Finite float32 without the lower bits, to nearest; of two as near the even one, or that away from 0."""
    below = x.view(np.uint32) >> dropped << dropped
    above = below + np.uint32(1 << dropped)
    exact = np.abs(x.astype(float))
    down, up = (np.abs(exact - np.abs(word.view(np.float32).astype(float))) for word in (below, above))
    up_if_equal = (below >> dropped & 1 == 1) if even else True
    return np.where((up < down) | ((up == down) & up_if_equal), above, below).view(np.float32)


def test_float_products(checking: bool) -> None:
    """Summed in the order of the columns, or backward, or in another order for each seed."""
    generator = np.random.default_rng(0)
    a, b, c = (generator.standard_normal(shape).astype(np.float32) for shape in ((16, 48), (8, 48), (16, 8)))
    for tf32, dropped, width in ((False, 16, 16), (True, 13, 8)):
        p, q = rounded(a, dropped, not tf32), rounded(b, dropped, not tf32)
        terms = p[:, None] * q  # exact

        def multiplied(order: str, seed: int = 0, name: str = str(tf32).lower()) -> np.ndarray:
            result = device(c)
            with raw.schedule(order, seed):
                headed.get_function(f"float_product<{name}>")((1,), (32,), (device(a), device(b), result, 48))
            return result.get()

        forward, backward = c, c
        for first in range(0, 48, width):
            for k in range(first, first + width):
                forward = forward + terms[..., k]
            total = 0
            for k in reversed(range(first, first + width)):
                total = total + terms[..., k]
            backward = total + backward
        assert np.array_equal(multiplied("forward"), forward)
        assert np.array_equal(multiplied("backward"), backward)
        shuffled = multiplied("random", 1)
        assert np.array_equal(multiplied("random", 1), shuffled)
        for other in (forward, backward, multiplied("random", 2)):
            assert not np.array_equal(shuffled, other)
        np.testing.assert_allclose(shuffled, c + terms.astype(float).sum(axis=-1), rtol=0, atol=1e-5)


def test_float_conversions(checking: bool) -> None:
    generator = np.random.default_rng(0)
    words = generator.integers(0, 0x7F7F0000, 500, dtype=np.uint32)  # what rounds to no infinity
    words[:300] = words[:300] >> 12 << 12  # with ties
    words[250:400] |= np.uint32(1 << 31)
    x = words.view(np.float32)
    outputs = [device(np.zeros(500, dtype)) for dtype in (np.uint32, np.uint32, np.float32, np.uint32)]
    headed.get_function("convert")((1,), (500,), (device(x), *outputs))
    bf16, pairs, back, tf32 = (output.get() for output in outputs)
    expected = rounded(x, 16, True)
    assert np.array_equal(back, expected)
    assert np.array_equal(bf16, expected.view(np.uint32) >> 16)
    assert np.array_equal(pairs, bf16 | 0x3F80 << 16)
    assert np.array_equal(tf32, rounded(x, 13, False).view(np.uint32))
    special = np.array([np.inf, -np.inf, np.nan, np.finfo(np.float32).max, -0.0], np.float32)
    outputs = [device(np.zeros(5, dtype)) for dtype in (np.uint32, np.uint32, np.float32, np.uint32)]
    headed.get_function("convert")((1,), (5,), (device(special), *outputs))
    assert np.array_equal(outputs[2].get(), [np.inf, -np.inf, np.nan, np.inf, 0], equal_nan=True)
    assert outputs[0].get().tolist() == [0x7F80, 0xFF80, 0x7FFF, 0x7F80, 0x8000]
    assert outputs[3].get().tolist() == [0x7F800000, 0xFF800000, 0x7FFFFFFF, 0x7F800000, 0x80000000]


def address(array: Any, offset: int = 0) -> int:
    return array.data.ptr + offset * array.itemsize


def truncated(x: np.ndarray, dropped: int) -> np.ndarray:
    """float32 without its lower bits."""
    return (x.copy().view(np.uint32) >> dropped << dropped).view(np.float32)


@pytest.mark.parametrize("size", [1, 2, 8])
def test_asynchronous_stores(checking: bool, size: int) -> None:
    x = np.random.default_rng(0).integers(2**32, size=(2, size, 64, 4), dtype=np.uint32)
    y = device(np.zeros_like(x))
    shared = 16 + 2 * size * 64 * 16
    headed.get_function(f"tell_all<{size}>")((2 * size,), (64,), (device(x), y, 5), shared_mem=shared)
    for _ in range(5):
        turned, ranks = x[:, :, ::-1], np.arange(size, dtype=np.uint32)[:, None]
        x = np.stack(
            [
                ((ranks + 1) * turned[..., 0]).sum(1, dtype=np.uint32),
                turned[..., 2].sum(1, dtype=np.uint32),
                (ranks * turned[..., 1]).sum(1, dtype=np.uint32),
                np.bitwise_xor.reduce(turned[..., 3], axis=1),
            ],
            axis=-1,
        )[:, None].repeat(size, axis=1)
    assert np.array_equal(y.get(), x)


@pytest.mark.parametrize("kind", ["float32", "float64", "bf16", "tf32"])
def test_matrix_products(kind: str) -> None:
    """C = 0.5 A^T B + 2 C of three matrices each, stored by columns, some rows of larger ones."""
    generator, dtype = np.random.default_rng(0), "float64" if kind == "float64" else "float32"
    a, b, c = (generator.standard_normal((3, *shape)).astype(dtype) for shape in ((5, 9), (4, 9), (4, 6)))
    factors, result = np.array([0.5, 2], dtype), device(c)
    held = device(a), device(b)
    if kind == "bf16":
        a, b = truncated(a, 16), truncated(b, 16)
        held = tuple(device((x.view(np.uint32) >> 16).astype(np.uint16)) for x in (a, b))
    alpha, beta = factors.ctypes.data, factors.ctypes.data + factors.itemsize
    places = (address(held[0], 1), 9, 45), (address(held[1], 2), 9, 36), (address(result, 1), 6, 24)
    p, q = a[:, :, 1:8], b[:, :, 2:9]
    cublas, end = cupy.cuda.cublas, ()
    multiply = cublas.dgemmStridedBatched if dtype == "float64" else cublas.sgemmStridedBatched
    if kind in ("bf16", "tf32"):
        multiply = cublas.gemmStridedBatchedEx
        computed = cublas.CUBLAS_COMPUTE_32F if kind == "bf16" else cublas.CUBLAS_COMPUTE_32F_FAST_TF32
        end = computed, cublas.CUBLAS_GEMM_DEFAULT
        types = [14 if kind == "bf16" else 0] * 2 + [0]
        places = [(place[0], word, *place[1:]) for place, word in zip(places, types, strict=True)]
        p, q = (truncated(x, 13) for x in (p, q))
    multiply(1, 1, 0, 5, 4, 7, alpha, *places[0], *places[1], beta, *places[2], 3, *end)
    expected = c.copy()
    expected[:, :, 1:] = 0.5 * (q @ p.swapaxes(1, 2)) + 2 * c[:, :, 1:]
    np.testing.assert_allclose(result.get(), expected, rtol=1e-5 if dtype == "float32" else 1e-14, atol=1e-6)


@pytest.mark.parametrize(
    ("argument", "value", "fault"),
    [
        ("Atype", 14, "NOT_SUPPORTED"),
        ("Ctype", 1, "NOT_SUPPORTED"),
        ("computeType", 64, "NOT_SUPPORTED"),
        ("algo", 7, "INVALID_VALUE"),
        ("ldc", 1, "INVALID_VALUE"),
    ],
)
def test_wrong_matrix_products(argument: str, value: int, fault: str) -> None:
    result, one, a = (
        device(np.zeros((1, 2), np.float32)),
        np.array([1, 0], np.float32),
        device(np.ones(2, "f")),
    )
    arguments = {"Atype": 0, "Btype": 0, "Ctype": 0, "ldc": 2, "computeType": 77, "algo": 99, argument: value}
    with pytest.raises(RuntimeError, match=f"CUBLAS_STATUS_{fault}"):
        cupy.cuda.cublas.gemmStridedBatchedEx(
            handle=1, transa=0, transb=0, m=2, n=1, k=1, alpha=one.ctypes.data,
            A=address(a), lda=2, strideA=0, B=address(a), ldb=1, strideB=0,
            beta=one.ctypes.data + 4, C=address(result), strideC=0, batchCount=1, **arguments,
        )  # fmt: skip


@pytest.mark.parametrize(("dtype", "name", "most"), [("float32", "float", 88), ("float64", "double", 709)])
def test_functions(checking: bool, dtype: str, name: str, most: int) -> None:
    x = np.linspace(0.1, 20, 50).astype(dtype)
    out = device(np.zeros((50, 8), dtype))
    headed.get_function(f"functions<{name}>")((1,), (50,), (device(x), out))
    e = x.astype(float)
    expected = np.transpose(
        [
            np.exp(e),
            np.tanh(e),
            [float(Fraction(float(value)) ** 2 - Fraction(float(value * value))) for value in x],
            1 / np.sqrt(e),
            1 / e,
            2 + (1000 * e < most),
            np.fmax(e, 1) + np.fmin(e, 2) + np.log1p(e) + np.expm1(e) + np.sqrt(e),
            np.rint((100 * x).astype(np.float32)) + np.trunc(e) + 8,
        ]
    )
    np.testing.assert_allclose(out.get(), expected, rtol=1e-6 if dtype == "float32" else 1e-14)


def test_arithmetic_without_checks_is_a_cards(checking: bool) -> None:
    """A product is not rounded before a sum, and tiny floats are 0, though not tiny doubles."""
    code = """
    __device__ float rounded(float a, float b) { return __fmul_rn(a, b); }
    __device__ double rounded(double a, double b) { return __dmul_rn(a, b); }
    template <class T> __global__ void arithmetic(const T* x, T* y) {
        y[0] = x[0] * x[0] - x[1];
        y[1] = x[2] * x[3];
        y[2] = x[4] + x[5];
        y[3] = rounded(x[0], x[0]) - x[1];
    }"""
    module = raw.RawModule(code=code, name_expressions=["arithmetic<float>", "arithmetic<double>"])
    for dtype, name in ((np.float32, "float"), (np.float64, "double")):
        info = np.finfo(dtype)
        a, tiny = dtype(1 + info.eps), info.smallest_subnormal
        x = np.array([a, a * a, info.tiny, 0.5, tiny, 0], dtype)
        y = device(np.zeros(4, dtype))
        module.get_function(f"arithmetic<{name}>")((1,), (1,), (device(x), y))
        flushed = dtype is np.float32 and not checking
        assert y.get().tolist() == [
            0 if checking or not raw.contracts() else info.eps**2,
            0 if flushed else info.tiny / 2,
            0 if flushed else tiny,
            0,
        ]


@pytest.mark.usefixtures("scheduled")
def test_atomics_and_votes() -> None:
    out, low = device(np.zeros(5, np.uint64)), device(np.zeros(1, np.int32))
    right.get_function("shared_atomics")((1,), (96,), (out, low))
    assert out.get().tolist() == [96 * 95 // 2, 95, 2**64 - 1, 48, 1]
    assert low.get()[0] == -5


def test_intrinsics(checking: bool) -> None:
    a, other = 0xF2345678_9ABCDEF1, 77
    low, high = a & 0xFFFFFFFF, a >> 32
    signed = [int(np.uint32(word).astype(np.int32)) for word in (low, high)]
    octets = [np.array([word], np.uint32).view(np.int8).astype(int) for word in (low, high)]
    expected = [
        low.bit_count(),
        a.bit_count(),
        4,
        41,
        5,
        9,
        int(f"{low:032b}"[::-1], 2),
        int(f"{a:064b}"[::-1], 2),
        low * high >> 32,
        a * (2**64 - 1 - a) >> 64,
        signed[0] * signed[1] >> 32,
        int(octets[0] @ octets[1]) - 5,
        (a << 7 >> 32) & 0xFFFFFFFF,
        (a >> 7) & 0xFFFFFFFF,
        (low & 0xFFFFFF) | (high >> 24 << 24),
        3 + 4 + 7 + 2,
        (2 << 32) + 1,
        (4 << 32) + 3,
        a ^ other,
    ]
    out = device(np.zeros(len(expected), np.int64))
    x = device(np.array([a, other], np.uint64))
    right.get_function("intrinsics")((1,), (1,), (x, out))
    assert out.get().tolist() == [value - (value >= 2**63) * 2**64 for value in expected]


# Kernels with one fault each, called with int* x and const int* constant of 64 ones in blocks of 64 threads,
# and what is reported.  Those in CRASHES are found without checks too.
FAULTS = {
    "missing_barrier": (
        "__shared__ int s[64]; s[t] = 1; __syncthreads(); s[t] = 2; x[t] = s[63 - t];",
        "race inside a block",
    ),
    "missing_barrier_before_refill": (
        "__shared__ int s[64]; for (int k = 0; k < 2; k++) { s[t] = k; __syncthreads(); x[t] += s[63 - t]; }",
        "race inside a block",
    ),
    "missing_syncwarp": (
        "__shared__ int s[64]; s[t] = 1; __syncwarp(); int v = s[t ^ 1]; s[t] = v + 1;",
        "race inside a warp",
    ),
    "race_between_blocks": ("if (t == 0) x[0] = blockIdx.x;", "race between blocks"),
    "missing_fence": (
        "if (blockIdx.x == t) { x[t] = 1; atomicAdd(x + 40, 1); } __syncthreads();"
        " if (t == 0) x[41 + x[0]] = 1;",
        "race between blocks",
    ),
    "read_only_load_of_an_own_store": (
        "x[t] = 1; x[t] += __ldg(x + t);",
        "__ldg of what the launch has stored",
    ),
    "read_only_load_of_the_store_of_another": (
        "if (t < 32) x[t] = 2; __syncthreads(); if (t >= 32) x[t] = __ldg(x + 63 - t);",
        "__ldg of what the launch has stored|race between blocks",
    ),
    "store_after_a_read_only_load": (
        "const int v = __ldg(x + 63 - t); __syncthreads(); x[t] = v;",
        "store to what the launch has read by __ldg",
    ),
    "atomic_after_a_read_only_load": (
        "const int v = __ldg(x); if (v == 1 && t == 63) atomicAdd(x, 1);",
        "store to what the launch has read by __ldg|__ldg of what the launch has stored",
    ),
    "read_only_load_of_shared_memory": (
        "__shared__ int s[64]; s[t] = 1; x[t] = __ldg(s + t);",
        "__ldg of shared memory",
    ),
    "misaligned_read_only_load": (
        "const uint4 v = __ldg((const uint4*)(constant + 1 + t % 4 / 4)); assert(v.x + v.w != 77);",
        "misaligned access: 16-byte read-only load",
    ),
    "missing_fence_after_an_atomic": (
        "__shared__ int seen; if (t == 0) { x[40 + blockIdx.x] = 2; __threadfence();"
        " seen = atomicAdd(x, 1); } __syncthreads(); if (t == 0 && seen == 2) x[50] = x[41 - blockIdx.x];",
        "race between blocks.*4-byte load",
    ),
    "fence_after_the_atomic_that_tells": (
        "if (t == 0) { x[40 + blockIdx.x] = 2; const int seen = atomicAdd(x, 1); __threadfence();"
        " if (seen == 2) x[50] = x[41 - blockIdx.x]; }",
        "race between blocks.*4-byte load",
    ),
    "acquired_by_another_lane": (
        "int seen = 0; if (t == 0) { x[40 + blockIdx.x] = 2; __threadfence(); seen = atomicAdd(x, 1);"
        " __threadfence(); } seen = __shfl_sync(~0u, seen, 0);"
        " if (t == 1 && seen == 2) x[50] = x[41 - blockIdx.x];",
        "race between blocks.*4-byte load",
    ),
    "released_without_a_barrier_of_the_block": (
        "__shared__ int seen; if (t == 40) x[40 + blockIdx.x] = 2; if (t == 0) { __threadfence();"
        " seen = atomicAdd(x, 1); __threadfence(); } __syncthreads();"
        " if (t == 0 && seen == 2) x[50] = x[41 - blockIdx.x];",
        "race between blocks.*4-byte load",
    ),
    "handed_over_by_a_relaxed_word": (
        "const auto words = (unsigned long long*)x; const int other = blockIdx.x ^ 1; if (t == 0) {"
        " x[40 + blockIdx.x] = 5; emulator::store_relaxed(words + blockIdx.x, 7);"
        " if (emulator::load_relaxed(words + other) == 7) x[42 + blockIdx.x] = x[40 + other]; }",
        "race between blocks.*4-byte load",
    ),
    "plain_store_beside_relaxed_load": (
        "if (t == 0 && blockIdx.x) x[1] = 2; if (t == 0) emulator::load_relaxed((unsigned long long*)x);",
        "race between blocks",
    ),
    "plain_load_beside_relaxed_store": (
        "const auto word = (unsigned long long*)x + blockIdx.x; if (t == 0) emulator::store_relaxed(word, 7);"
        " if (t == 1) x[40 + blockIdx.x] = x[2 * (blockIdx.x ^ 1)];",
        "race between blocks",
    ),
    "misaligned_relaxed_load": (
        "emulator::load_relaxed((unsigned long long*)(x + 1));",
        "misaligned access: 8-byte atomic load",
    ),
    "reduced_without_atomic": ("x[t % 8] += t;", "race inside a"),
    "out_of_bounds": ("x[t + 1] = t;", "access out of bounds: 4-byte store"),
    "shared_out_of_bounds": (
        "extern __shared__ int s[]; s[t] = 1; if (t == 63) s[t + 1] = 1;",
        "access out of bounds",
    ),
    "uninitialised_shared": (
        "__shared__ int s[64]; if (t != 5) s[t] = 1; __syncthreads(); x[t] = s[63 - t];",
        "load of shared memory never stored to",
    ),
    "uninitialised_static": ("__shared__ int s[64]; x[t] = s[t];", "load of shared memory never stored to"),
    "store_to_const": ("const_cast<int*>(constant)[t] = 1;", "store to a const array"),
    "missing_wait": (
        "__shared__ __align__(16) int s[64]; emulator::copy_async(s + t, constant + t, 4, 4);"
        " emulator::copy_async_commit(); __syncthreads(); x[t] = s[63 - t];",
        "access to what an asynchronous copy still fills",
    ),
    "waits_for_too_few": (
        "__shared__ int s[128]; for (int k = 0; k < 2; k++) {"
        " emulator::copy_async(s + 64 * k + t, constant + t, 4, 4);"
        " emulator::copy_async_commit(); } emulator::copy_async_wait(1); x[t] = s[64 + t];",
        "access to what an asynchronous copy still fills",
    ),
    "missing_barrier_after_wait": (
        "__shared__ int s[64]; emulator::copy_async(s + t, constant + t, 4, 4);"
        " emulator::copy_async_commit(); emulator::copy_async_wait(0); x[t] = s[63 - t];",
        "(race inside|never stored to|access to what an asynchronous copy still fills)",
    ),
    "refill_while_others_read": (
        "__shared__ int s[64]; s[t] = t; __syncthreads(); x[t] = s[63 - t];"
        " emulator::copy_async(s + t, constant + t, 4, 4);",
        "(race inside|access to what an asynchronous copy still fills)",
    ),
    "remote_store_before_load": (
        "IN_CLUSTER; s[t] = 0; BARRIER; theirs[t] = 1; assert(s[63 - t] != 77); BARRIER;",
        "race inside a cluster",
    ),
    "barrier_of_the_block_only": (
        "IN_CLUSTER; s[t] = 0; BARRIER; theirs[t] = 1; __syncthreads(); assert(s[63 - t] != 77); BARRIER;",
        "race inside a cluster",
    ),
    "remote_store_read_without_a_barrier": (
        "IN_CLUSTER; s[t] = 0; BARRIER; theirs[t] = 7; __syncthreads(); if (other) x[t] = s[t]; BARRIER;",
        "race inside a cluster",
    ),
    "remote_store_after_an_arrival_read": (
        "IN_CLUSTER; s[t] = 0; BARRIER; emulator::cluster_arrive(); theirs[t] = 7; emulator::cluster_wait();"
        " if (other) x[t] = s[t]; BARRIER;",
        "race inside a cluster",
    ),
    "remote_load_before_a_barrier": (
        "IN_CLUSTER; s[t] = 0; BARRIER; s[t] = 7; __syncthreads(); if (other) x[t] = theirs[t]; BARRIER;",
        "race inside a cluster",
    ),
    "remote_flag_without_a_fence": (
        "__shared__ int come; IN_CLUSTER; s[t] = 0; if (t == 0) come = 0; BARRIER; theirs[t] = 7;"
        " __syncthreads(); if (t == 0) { atomicAdd(emulator::map_shared(&come, other), 1);"
        " while (atomicAdd(&come, 0) == 0) __nanosleep(20); __threadfence(); }"
        " __syncthreads(); if (other) x[t] = s[t]; BARRIER;",
        "race inside a cluster",
    ),
    "remote_store_after_arrival": (
        "IN_CLUSTER; s[t] = 0; BARRIER; emulator::cluster_arrive(); theirs[t] = 1; emulator::cluster_wait();"
        " assert(s[t] != 77); BARRIER;",
        "race inside a cluster",
    ),
    "refill_while_the_cluster_reads": (
        "IN_CLUSTER; for (int k = 0; k < 2; k++) { s[t] = k; BARRIER; assert(theirs[t] != 77); } BARRIER;",
        "race inside a cluster",
    ),
    "race_in_global_memory_of_a_cluster": (
        "IN_CLUSTER; if (t == 0) x[0] = 1; BARRIER;",
        "race inside a cluster",
    ),
    "remote_uninitialised": (
        "IN_CLUSTER; if (t != 5) s[t] = 1; BARRIER; assert(theirs[t] != 77); BARRIER;",
        "load of shared memory never stored to",
    ),
    "remote_out_of_bounds": (
        "extern __shared__ int d[]; IN_CLUSTER; BARRIER; emulator::map_shared(d, other)[t + 1] = 1; BARRIER;",
        "access out of bounds",
    ),
    "async_store_not_waited_for": (
        "COUNTED; EXPECT(16); SEND(t); if (other) x[t] = d[t].x; WAIT(0); BARRIER;",
        "(race with an asynchronous store|never stored to)",
    ),
    "async_store_after_a_barrier_of_the_cluster": (
        "COUNTED; EXPECT(16); SEND(t); BARRIER; if (other) x[t] = d[63 - t].x; BARRIER;",
        "race with an asynchronous store",
    ),
    "async_stores_expected_too_few": (
        "COUNTED; EXPECT(t ? 16 : 0); SEND(t); WAIT(0); if (other) x[t] = d[63 - t].x; BARRIER;",
        "(race with an asynchronous store|never stored to|race inside a cluster|livelock)",
    ),
    "async_stores_of_another_phase": (
        "COUNTED; EXPECT(16); SEND(t); WAIT(1); if (other) x[t] = d[63 - t].x; BARRIER;",
        "(race with an asynchronous store|never stored to|livelock)",
    ),
    "async_store_to_the_exited": (
        "COUNTED; SEND(t); if (other) BARRIER;",
        "(that has exited|a block exits while)",
    ),
    "async_stores_never_come": (
        "COUNTED; EXPECT(16); WAIT(0); BARRIER;",
        "livelock",
    ),
    "async_arrivals_too_many": (
        "COUNTED; EXPECT(16); EXPECT(16); BARRIER;",
        "more arrivals than its count",
    ),
    "async_barrier_not_initialised_yet": (
        "IN_CLUSTER; IN_MEMORY; BARRIER; if (t == 0) emulator::phase_init(b, 64);"
        " EXPECT(16); SEND(t); BARRIER;",
        "race",
    ),
    "async_store_to_static_memory": (
        "COUNTED; const uint4 v = {}; emulator::store_async(s, other, &v, 16, b); BARRIER;",
        "not in dynamic shared memory",
    ),
    "async_store_misaligned": (
        "COUNTED; const uint4 v = {}; emulator::store_async((char*)d + 8, other, &v, 16, b); BARRIER;",
        "st.async: misaligned",
    ),
    "not_yet_started": ("IN_CLUSTER; if (other) theirs[t] = 1; BARRIER;", "may not have started"),
    "already_exited": (
        "IN_CLUSTER; s[t] = 1; BARRIER; if (other) x[t] = theirs[t];",
        "(a block exits while another may access|of a block that has exited)",
    ),
    "misaligned_load": (
        "const uint4 v = *(const uint4*)(constant + 1 + t % 4 / 4); assert(v.x + v.y + v.z + v.w != 77);",
        "misaligned access: 16-byte load",
    ),
    "misaligned_load_of_shared_memory": (
        "__shared__ __align__(16) int s[68]; s[t] = t; __syncthreads();"
        " const uint4 v = *(const uint4*)(s + 2 + t % 4 / 4); assert(v.x + v.y + v.z + v.w != 77);",
        "misaligned access: 16-byte load",
    ),
    "misaligned": ("*(uint4*)(x + 1 + t % 4 / 4) = make_uint4(1, 2, 3, 4);", "misaligned"),
    "divergent_barrier": (
        "if (t & 1) { __syncthreads(); }\nelse __syncthreads();",
        "divergent __syncthreads",
    ),
    "divergent_warp": (
        "if (t & 1) __shfl_sync(~0u, t, 0); else __ballot_sync(~0u, 1);",
        "divergent operation of a warp",
    ),
    "not_in_its_mask": ("__shfl_sync(~1u, t, 1);", "not in its own mask"),
    "deadlock": ("if (t < 16) __syncwarp(); else __syncthreads();", "deadlock"),
    "livelock": ("if (t == 0) while (emulator::load_acquire((unsigned*)x + 9) != 7) {}", "livelock"),
    "flag_that_never_comes": (
        "while (emulator::load_relaxed((unsigned long long*)x + t % 32) >> 32 != 7) __nanosleep(20);",
        "livelock",
    ),
    "polled_without_a_pause": (
        "while (emulator::load_relaxed((unsigned long long*)x) >> 32 != 7) {}",
        "livelock",
    ),
    "not_global": ("emulator::copy_async(x + t, constant + t, 4, 4);", "not to shared memory"),
    "matrices_misaligned": (
        "__shared__ __align__(16) int s[64]; emulator::matrix_words(s + 2);",
        "ldmatrix: misaligned",
    ),
    "matrices_not_shared": ("emulator::matrix_words(constant);", "ldmatrix: not from shared memory"),
    "matrices_without_all_lanes": (
        "__shared__ __align__(16) int s[64]; if (t & 1) emulator::matrix_words(s);",
        "ldmatrix without all lanes",
    ),
    "failed_assertion": ("assert(t < 60);", "assertion failed: t < 60"),
    "trap": ("if (t == 40) __trap();", "__trap()"),
    "divided_by_zero": ("x[t] = 5 / (t - 3 - x[t] + 1);", "division by zero"),
    "null": ("((volatile int*)nullptr)[t] = 1;", "out of bounds"),
    "no_such_rank": ("IN_CLUSTER; emulator::map_shared(s, 2);", "no block of this rank"),
    "not_shared": ("IN_CLUSTER; emulator::map_shared(x, other);", "not in the shared memory"),
    "mapped_twice": ("IN_CLUSTER; emulator::map_shared(theirs, 0);", "not in the shared memory"),
    "arrives_twice": (
        "IN_CLUSTER; emulator::cluster_arrive(); emulator::cluster_arrive();",
        "cluster_arrive again without cluster_wait",
    ),
    "waits_only": ("IN_CLUSTER; emulator::cluster_wait();", "cluster_wait without cluster_arrive"),
    "divergent_cluster": (
        "IN_CLUSTER; if (t & 1) emulator::cluster_arrive(); else emulator::cluster_wait();",
        "divergent operation of a warp",
    ),
    "deadlock_of_a_cluster": ("IN_CLUSTER; if (other && t < 32) __syncthreads(); else BARRIER;", "deadlock"),
}
CRASHES = list(FAULTS)[list(FAULTS).index("divergent_barrier") :]

OF_CLUSTERS = r"""
#define IN_CLUSTER                                        \
    __shared__ int s[64];                                 \
    const unsigned other = emulator::cluster_rank() ^ 1;  \
    int* const theirs = emulator::map_shared(s, other)
#define BARRIER { emulator::cluster_arrive(); emulator::cluster_wait(); }
#define IN_MEMORY                                          \
    uint4* const d = (uint4*)emulator::dynamic_shared();  \
    const auto b = (unsigned long long*)(d + 64)
#define COUNTED                                  \
    IN_CLUSTER;                                  \
    IN_MEMORY;                                   \
    if (t == 0) emulator::phase_init(b, 64);     \
    BARRIER
#define EXPECT(bytes) emulator::phase_expect(b, bytes)
#define WAIT(parity) emulator::phase_wait(b, parity)
#define SEND(i) { const uint4 v = {1, 2, 3, 4}; emulator::store_async(d + i, other, &v, 16, b); }
"""

faulty = raw.RawModule(
    code=OF_CLUSTERS
    + "\n".join(
        'extern "C" __global__ void '
        + "__cluster_dims__(2) " * bool(re.search("IN_CLUSTER|COUNTED", body))
        + f"{name}(int* x, const int* constant) {{ int t = threadIdx.x; {body} }}"
        for name, (body, _) in FAULTS.items()
    )
)


def run_faulty(name: str) -> np.ndarray:
    x, shared = device(np.ones(64, np.int32)), 1040 if "async_" in name else 256
    faulty.get_function(name)((2,), (64,), (x, device(np.ones(64, np.int32))), shared_mem=shared)
    return x.get()


@pytest.mark.each_value
@pytest.mark.parametrize("order", raw.ORDERS)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "polled_without_a_pause")) for name in FAULTS],
)
def test_faults_are_found(name: str, order: str) -> None:
    _, message = FAULTS[name]
    with (
        raw.checked(),
        raw.schedule(order),
        pytest.raises(raw.EmulationError, match=rf"^{name}: .*{message}"),
    ):
        run_faulty(name)


@pytest.mark.parametrize("name", CRASHES)
def test_crashes_are_found_without_checks(name: str) -> None:
    with raw.checked(False), pytest.raises(raw.EmulationError, match=rf"^{name}: .*{FAULTS[name][1]}"):
        run_faulty(name)


def test_faults_show_in_results_without_checks() -> None:
    """What is wrong gives wrong results under some schedule."""
    with raw.checked(False):
        assert (run_faulty("missing_wait") == -1).all()
        assert run_faulty("uninitialised_shared")[58] == -1
        with raw.schedule("forward"):
            assert set(run_faulty("missing_barrier_before_refill")) != {3}  # 1, and 0 + 1 of each block
            assert (run_faulty("already_exited") == -1).all()
            assert (run_faulty("remote_store_read_without_a_barrier") == 0).all()
            assert (run_faulty("remote_store_after_an_arrival_read") == 0).any()
            assert (run_faulty("remote_load_before_a_barrier") == 0).all()
            assert (run_faulty("remote_flag_without_a_fence") == 0).all()


@pytest.mark.parametrize(
    ("name", "status", "says"),
    [
        ("out_of_bounds", 700, "IllegalAddress: an illegal memory access was encountered"),
        ("misaligned", 716, "MisalignedAddress: misaligned address"),
        ("failed_assertion", 710, "Assert: device-side assert triggered"),
        ("trap", 719, "LaunchFailure: unspecified launch failure"),
    ],
)
def test_every_call_after_a_fault_fails(name: str, status: int, says: str) -> None:
    x, stream = device(np.ones(64, np.int32)), cupy.cuda.Stream.null
    with raw.checked(), pytest.raises(cupy.cuda.driver.CUDADriverError) as report:
        faulty.get_function(name)((1,), (64,), (x, x))
    assert report.value.status == status
    calls = [x.get, x.item, x.copy, x.sum, stream.synchronize, cupy.cuda.runtime.memGetInfo]
    calls += [lambda: x + 1, lambda: x.fill(1), lambda: bool(x), lambda: device([1]), lambda: cupy.empty(1)]
    for call in calls:
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match=f"^cudaError{says}$") as report:
            call()
        assert report.value.status == status
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match=says[-10:]):
        faulty.get_function("missing_fence")((1,), (64,), (x, x))
    errors.reset()
    assert x.get().shape == (64,)


def test_a_report_of_the_emulator_alone_does_not_last() -> None:
    """Of a race, say, a card would know nothing, and what cannot be launched harms nothing."""
    x = device(np.ones(64, np.int32))
    with raw.checked(), pytest.raises(raw.EmulationError, match="race"):
        faulty.get_function("missing_barrier")((1,), (64,), (x, x))
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="invalid launch"):
        faulty.get_function("missing_barrier")((1,), (1025,), (x, x))
    assert x.get().shape == (64,)


def test_reports_name_the_line() -> None:
    with raw.checked(), pytest.raises(raw.EmulationError, match=r"line \d+\): .*void out_of_bounds\("):
        run_faulty("out_of_bounds")


ARGUMENTS = r"""
struct Pair { int x, y; };
extern "C" __global__ void all(const float* f, bool* b, const uint4* four, const void* any, long long n,
                               unsigned long long key, float scale, bool flag) {
    if (f) *b = n == -3 && key == 5 && scale == 0.5f && flag && four->w == 7 && *(const char*)any == 'a';
}
"""
typed = raw.RawModule(code=ARGUMENTS)


def call(**changed: Any) -> bool:
    arguments = {
        "f": device(np.ones(3, np.float32)),
        "b": device(np.zeros(1, bool)),
        "four": device(np.array([0, 7 << 32], np.uint64)),
        "any": device(np.frombuffer(b"abc", np.int8)),
        "n": -3,
        "key": 5,
        "scale": np.float32(0.5),
        "flag": True,
    } | changed
    typed.get_function("all")((1,), (1,), tuple(arguments.values()))
    return bool(arguments["b"].get()[0])


def test_arguments() -> None:
    assert call()
    assert call(key=np.uint64(5))
    assert not call(f=None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"f": np.ones(3, np.float32)}, "ndarray for a pointer: an array on the device"),
        ({"f": device(np.ones(3))}, "float64 array for a pointer to f4"),
        ({"f": device(np.ones((4, 4), np.float32)).T}, "not C-contiguous"),
        ({"f": 0}, "int for a pointer"),
        ({"four": device(np.zeros(9, np.uint64))[1:]}, "not aligned to 16 bytes"),
        ({"n": np.int32(3)}, "int32 scalar for i8"),
        ({"n": np.uint64(3)}, "uint64 scalar for i8"),
        ({"n": 1 << 63}, "does not fit"),
        ({"n": 3.0}, "float64 scalar for i8"),
        ({"scale": 0.5}, "float64 scalar for f4"),
        ({"flag": 1}, "int64 scalar for u1"),
        ({"flag": "x"}, "str for a value"),
        ({"more": 1}, "9 arguments for 8"),
    ],
)
def test_wrong_arguments(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(raw.EmulationError, match=message):
        call(**changed)


STATIC = """
__device__ __noinline__ int rotated(int x) {
    __shared__ int s[300];
    s[threadIdx.x] = x;
    __syncthreads();
    return s[threadIdx.x ^ 1];
}
template <int size> __device__ int through(int x) {
    __shared__ int s[size];
    s[threadIdx.x] = x;
    return rotated(s[threadIdx.x]);
}
extern "C" __global__ void none(int* x) { extern __shared__ int s[]; s[threadIdx.x] = x[1]; }
extern "C" __global__ void own(int* x) { __shared__ int s[64]; x[threadIdx.x] = s[threadIdx.x] = 1; }
extern "C" __global__ void both(int* x) {
    __shared__ int own;
    extern __shared__ int s[];
    if (threadIdx.x == 0) x[0] = (own = 1) + (s[0] = 1);
}
extern "C" __global__ void called(int* x) { x[threadIdx.x] = rotated(x[threadIdx.x]); }
template <int size> __global__ void deeper(int* x) {
    const auto add = [](int y) { __shared__ int s[25]; s[threadIdx.x] = y; return s[threadIdx.x]; };
    x[threadIdx.x] = through<size>(add(x[threadIdx.x]));
}
"""


def test_static_shared_memory(checking: bool) -> None:
    sizes = {"none": 0, "own": 256, "both": 16, "called": 1200, "deeper<100>": 1712, "deeper<11963>": 49152}
    module = raw.RawModule(code=STATIC, name_expressions=("deeper<100>", "deeper<11963>", "deeper<11964>"))
    x = device(np.ones(16, np.int32))
    for name, size in sizes.items():
        kernel = module.get_function(name)
        assert kernel.shared_size_bytes == size
        assert kernel.max_dynamic_shared_size_bytes == 49152 - size
        kernel((1,), (16,), (x,), shared_mem=0 if size == 49152 else 64)
        with pytest.raises(raw.EmulationError, match="max_dynamic_shared_size_bytes is"):
            kernel((1,), (16,), (x,), shared_mem=49153 - size)
        kernel.max_dynamic_shared_size_bytes = 232448 - size
        with pytest.raises(raw.EmulationError, match=f"{232448 - size} at most"):
            kernel.max_dynamic_shared_size_bytes = 232449 - size
    with pytest.raises(raw.EmulationError, match="49168 bytes of static shared memory; 49152 at most"):
        module.get_function("deeper<11964>")


def test_wrong_launches() -> None:
    kernel = right.get_function("reverse<false>")
    arguments = (device(np.ones(64, np.int32)), device(np.ones(64, np.int32)), 1)
    for grid, block in (((0,), (64,)), ((1,), (0,)), ((1,), (1025,)), ((1, 65536), (64,))):
        with pytest.raises(raw.EmulationError, match="invalid launch"):
            kernel(grid, block, arguments)
    with pytest.raises(raw.EmulationError, match="max_dynamic_shared_size_bytes is 49152"):
        kernel((1,), (64,), arguments, shared_mem=49153)
    kernel.max_dynamic_shared_size_bytes = 227 << 10
    kernel((1,), (64,), arguments, shared_mem=227 << 10)
    with pytest.raises(raw.EmulationError, match="232448 at most"):
        kernel.max_dynamic_shared_size_bytes = 232449
    with pytest.raises(raw.EmulationError, match="no kernel 'reverse'"):
        right.get_function("reverse")
    with pytest.raises(raw.EmulationError, match=r"kernel.cu:2:.*error"):
        raw.RawModule(code="\nthis is not CUDA").compile()


def test_a_module_takes_few_mappings() -> None:
    """A process has 65530, and hundreds of modules, whose threads keep their stacks."""

    def mappings() -> int:
        return len(Path("/proc/self/maps").read_text().splitlines())

    code = 'extern "C" __global__ void meet(int* x) { __syncthreads(); atomicAdd(x, 1); }'
    module, x = raw.RawModule(code=code), device(np.zeros(1, np.int32))
    before = mappings()
    module.get_function("meet")((2,), (1024,), (x,))
    assert x.get()[0] == 2048 and mappings() - before < 200
