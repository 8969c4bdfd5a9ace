// Stores that a barrier in the receiver's shared memory counts: they land late and in any order.
#include <string.h>

#include <algorithm>

#include "state.h"

#include "async_stores.h"

namespace emulator {

namespace {

struct Phase {  // how a barrier in memory looks
    int bytes;  // expected, less those that have landed
    unsigned short arrivals;  // to come
    unsigned char count, parity;
};
static_assert(sizeof(Phase) == sizeof(unsigned long long));

void end_if_complete(Phase& phase) {
    if (phase.arrivals || phase.bytes) return;
    phase.parity ^= 1;
    phase.arrivals = phase.count;
    progress();
}

// The place in a block's dynamic shared memory of one in that of the running block.
char* place_of(const void* own, Block& block, size_t bytes, int line) {
    const char *address = (const char*)own, *base = current->block->dynamic_base();
    if (address < base || address + bytes > base + launch.shared)
        fail("asynchronous store or its barrier: not in dynamic shared memory", line);
    return block.dynamic_base() + (address - base);
}

Phase& phase_at(unsigned long long* barrier, Access access, int line) {
    place_of(barrier, *current->block, sizeof *barrier, line);
    check(barrier, sizeof *barrier, access, line);
    return *(Phase*)barrier;
}

}  // namespace

void phase_init(unsigned long long* barrier, unsigned count, int line) {
    Quiet quiet;
    phase_at(barrier, Access::store, line) = {0, (unsigned short)count, (unsigned char)count, 0};
}

void phase_expect(unsigned long long* barrier, unsigned bytes, int line) {
    Quiet quiet;
    perhaps_switch();
    Phase& phase = phase_at(barrier, Access::atomic, line);
    phase.bytes += bytes;
    if (!phase.arrivals--) fail("barrier in memory: more arrivals than its count", line);
    end_if_complete(phase);
}

void phase_wait(unsigned long long* barrier, unsigned parity, int line) {
    Quiet quiet;
    while (phase_at(barrier, Access::atomic_load, line).parity == parity) {
        land_async_stores(launch.options.order != 2);
        spin(line);
    }
    acquire();
    know_async_stores();
    progress();
}

void store_async(void* own, unsigned rank, const void* value, size_t bytes, unsigned long long* barrier, int line) {
    Quiet quiet;
    if (rank >= current->block->cluster->blocks.size()) fail("st.async: the cluster has no block of this rank", line);
    if ((uintptr_t)own % bytes) fail("st.async: misaligned", line);
    Block& owner = *current->block->cluster->blocks[rank];
    AsyncStore store{&owner, place_of(own, owner, bytes, line), place_of(barrier, owner, 8, line), bytes, {}};
    memcpy(store.value, value, bytes);
    check(store.to, bytes, Access::async_store, line);
    release_to_acquirers();
    check(store.barrier, 8, Access::atomic, line);
    progress();
    launch.async_stores.push_back(store);
    perhaps_switch();
}

void land_async_stores(bool all) {
    std::vector<AsyncStore> stores;
    stores.swap(launch.async_stores);
    for (const AsyncStore& store : stores) {
        if (!store.owner->alive) {
            launch.error = "asynchronous store to the shared memory of a block that has exited";
        } else if (!all && random_number() % 2) {
            launch.async_stores.push_back(store);
        } else {
            memcpy(store.to, store.value, store.bytes);
            Phase& phase = *(Phase*)store.barrier;
            phase.bytes -= store.bytes;
            end_if_complete(phase);
        }
    }
}

}  // namespace emulator
