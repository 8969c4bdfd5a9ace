#pragma once
#include "common.cuh"

// Clusters of blocks (compute capability 9.0) that reach each other's shared memory: PTX, with a twin each for the
// emulator of the tests.  Before 9.0 every block is a cluster of its own, whatever __cluster_dims__ says.

#if !defined(FASTREC_EMULATOR) && __CUDA_ARCH__ < 900
#undef __cluster_dims__
#define __cluster_dims__(...)
#endif

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

// The same place in the shared memory of another block of the cluster, for plain loads and stores by this block only.
// That block must have started, which a barrier of the cluster tells, and must not end before another one.
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

// The barrier of a cluster in two halves, each for all threads: what a thread did before it arrived is seen, in global
// and shared memory, by every thread that has waited.
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
__device__ __forceinline__ void cluster_barrier() {
  cluster_arrive();
  cluster_wait();
}
