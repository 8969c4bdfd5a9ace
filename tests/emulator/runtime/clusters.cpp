// Clusters: the shared memory of other blocks and the barrier of all their threads.
#include <string.h>

#include <algorithm>

#include "state.h"

#include "clusters.h"

namespace emulator {

namespace {

void meet_warp(const char* name, int line) {  // .aligned
    meet(~0u, {name, line, false}, nullptr, nullptr, [](void*, const void* const*, void* const*, unsigned) {},
         nullptr);
}

void open_if_all_arrived(Cluster& cluster) {
    if (!cluster.arrived || cluster.arrived < cluster.alive) return;
    progress();
    land_at_barrier(cluster);
    cluster.arrived = 0;
    cluster.opened++;
    for (Block* block : cluster.blocks)
        for (Fiber* fiber : block->threads)
            if (fiber->state == State::at_cluster) wake(fiber);
}

}  // namespace

unsigned cluster_rank() { return current->block->cluster_rank; }
unsigned cluster_size() { return current->block->cluster->blocks.size(); }

void cluster_arrive(int line) {
    Quiet quiet;
    meet_warp("cluster_arrive", line);
    if (current->arrivals != current->waits) fail("cluster_arrive again without cluster_wait", line);
    current->arrivals++;
    hand_over();
    land_relaxed_stores(*current->block);
    arrive_with_stores(*current->block);
    current->block->cluster->arrived++;
    open_if_all_arrived(*current->block->cluster);
    perhaps_switch();
}

void cluster_wait(int line) {
    Quiet quiet;
    meet_warp("cluster_wait", line);
    if (current->arrivals == current->waits) fail("cluster_wait without cluster_arrive", line);
    if (current->block->cluster->opened < current->arrivals)
        wait(State::at_cluster, {"cluster_wait", line, true}, 0);
    current->waits++;
    current->seen = current->waits;
    current->block->seen = std::max(current->block->seen, current->seen);
    observe();
    acquire();
}

void end_in_cluster() {
    Block& block = *current->block;
    Cluster& cluster = *block.cluster;
    if (block.alive == 1 && cluster.blocks.size() > 1) {
        check_end();
        land_all(block);
        close_windows_onto(block);
        memset(block.dynamic.data(), launch.options.poison, block.dynamic.size());
        memset(statics, launch.options.poison, statics_size);
    }
    if (current->arrivals > cluster.opened) cluster.arrived--;
    cluster.alive--;
    open_if_all_arrived(cluster);
}

void* map_bytes(const void* own, unsigned rank, int line) {
    Quiet quiet;
    Block& block = *current->block;
    if (rank >= cluster_size()) fail("map_shared: the cluster has no block of this rank", line);
    if (!in_shared(own, 0)) fail("map_shared: not in the shared memory of the block", line);
    if (rank == block.cluster_rank) return (void*)own;
    Block& other = *block.cluster->blocks[rank];
    if (!launch.options.checked) return window_onto(other, (const char*)own);
    const char *address = (const char*)own, *base = block.dynamic_base();
    if (address >= base && address <= base + launch.shared) return other.dynamic_base() + (address - base);
    return other.statics.data() + (address - statics);  // while this block runs, they are there
}

}  // namespace emulator
