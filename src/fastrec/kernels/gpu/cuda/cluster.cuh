#pragma once
#include "common.cuh"

// Clusters of blocks (compute capability 9.0) that store to each other's shared memory: PTX, with a twin each for the
// emulator of the tests.  Before 9.0 every block is a cluster of its own, whatever __cluster_dims__ says.

#if !defined(FASTREC_EMULATOR) && __CUDA_ARCH__ < 900
#undef __cluster_dims__
#define __cluster_dims__(...)
#endif

// The barrier of a cluster, for all threads: what a thread did before is seen, in global and shared memory, by every
// thread after it.  It waits for all stores to global memory, so that it is no barrier for every step.
__device__ __forceinline__ void cluster_barrier() {
  __syncwarp();  // all lanes arrive as one
#ifdef FASTREC_EMULATOR
  emulator::cluster_arrive();
  emulator::cluster_wait();
#elif __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
  __syncthreads();
#endif
}

#ifndef FASTREC_EMULATOR
__device__ __forceinline__ u32 shared_address(const void* place) { return u32(__cvta_generic_to_shared(place)); }
#endif

// A barrier in dynamic shared memory that counts the bytes which blocks of the cluster store: each of its phases ends
// when one thread has said how many bytes are expected and all of them are there.  Whoever then waits sees them.
// Phases have parity 0 and 1 in turn.
__device__ __forceinline__ void init_arrivals(u64* arrivals) {
#ifdef FASTREC_EMULATOR
  emulator::phase_init(arrivals, 1);
#elif __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(arrivals)) : "memory");
#endif
}
__device__ __forceinline__ void expect_bytes(u64* arrivals, u32 bytes) {
#ifdef FASTREC_EMULATOR
  emulator::phase_expect(arrivals, bytes);
#elif __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(arrivals)), "r"(bytes)
               : "memory");
#endif
}
__device__ __forceinline__ void wait_for_bytes(u64* arrivals, u32 parity) {
#ifdef FASTREC_EMULATOR
  emulator::phase_wait(arrivals, parity);
#elif __CUDA_ARCH__ >= 900
  u32 there;
  do
    asm volatile(
        "{\n\t.reg .pred there;\n\t"
        "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 there, [%1], %2;\n\t"
        "selp.u32 %0, 1, 0, there;\n\t}"
        : "=r"(there)
        : "r"(shared_address(arrivals)), "r"(parity)
        : "memory");
  while (!there);
#endif
}

// Stores 16 bytes to the same place in the shared memory of another block of the cluster, or of this one, and counts
// them by that block's `arrivals`.  Both places are given as they are in this block.  What the thread did before is
// performed by then on hardware, as loads return before a barrier that follows them; PTX orders only the store itself.
__device__ __forceinline__ void store_to(u32 rank, uint4* place, uint4 value, u64* arrivals) {
#ifdef FASTREC_EMULATOR
  emulator::store_async(place, rank, &value, sizeof value, arrivals);
#elif __CUDA_ARCH__ >= 900
  u32 there, counted;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(place)), "r"(rank));
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(counted) : "r"(shared_address(arrivals)), "r"(rank));
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(there),
               "r"(value.x), "r"(value.y), "r"(value.z), "r"(value.w), "r"(counted)
               : "memory");
#else
  *place = value;
#endif
}
