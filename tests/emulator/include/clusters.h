// Clusters of blocks: their shared memory, mapped, and their barrier.
#pragma once

namespace emulator {

struct ClusterDims {  // of a kernel
    unsigned x = 1, y = 1, z = 1;
};

unsigned cluster_rank();
unsigned cluster_size();

// Twins of barrier.cluster.arrive.release.aligned and barrier.cluster.wait.acquire.aligned.
void cluster_arrive(int line = __builtin_LINE());
void cluster_wait(int line = __builtin_LINE());

void* map_bytes(const void* own, unsigned rank, int line);

// Twin of mapa: the place of `own` in the shared memory of another block, for this block's use only.
template <class T>
T* map_shared(T* own, unsigned rank, int line = __builtin_LINE()) {
    return (T*)map_bytes((const void*)own, rank, line);
}

}  // namespace emulator
