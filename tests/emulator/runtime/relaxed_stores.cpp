// Relaxed stores are seen by other blocks late and in any order, but for those to the same word.
#include <algorithm>

#include "state.h"

namespace emulator {

namespace {

constexpr size_t most = 32;  // of a block

void land(Block& block, bool all) {
    std::vector<RelaxedStore>& stores = block.relaxed_stores;
    size_t kept = 0;
    for (const RelaxedStore& store : stores) {
        const auto same_word = [&](const RelaxedStore& other) { return other.address == store.address; };
        const bool waits = std::any_of(stores.begin(), stores.begin() + kept, same_word);
        if (waits || (!all && random_number() % 2)) {
            stores[kept++] = store;
        } else {
            *store.address = store.value;
            progress();
        }
    }
    stores.resize(kept);
}

}  // namespace

void put_relaxed(unsigned long long* address, unsigned long long value) {
    Block& block = *current->block;
    if (in_window(address)) return put(address, value);
    block.relaxed_stores.push_back({address, value});
    if (block.relaxed_stores.size() > most) land(block, false);
}

unsigned long long get_relaxed(const unsigned long long* address) {
    const std::vector<RelaxedStore>& stores = current->block->relaxed_stores;
    for (auto store = stores.rbegin(); store != stores.rend(); ++store)
        if (store->address == address) return store->value;
    return *(const unsigned long long*)settle(address, sizeof *address);
}

void land_relaxed_stores(Block& block) { land(block, true); }

void land_relaxed_stores_to(const void* address, size_t bytes) {
    for (const RelaxedStore& store : current->block->relaxed_stores)
        if ((char*)store.address < (char*)address + bytes && (char*)address < (char*)(store.address + 1))
            return land(*current->block, true);
}

void land_some_relaxed_stores(Block& block) { land(block, launch.options.order != 2); }

}  // namespace emulator
