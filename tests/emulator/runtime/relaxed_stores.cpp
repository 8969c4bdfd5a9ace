// Relaxed stores are seen by other blocks late and in any order, but for those to the same word.
#include <string.h>

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
            memcpy(store.address, store.value, store.bytes);
            progress();
        }
    }
    stores.resize(kept);
}

}  // namespace

void put_relaxed(void* address, const void* value, size_t bytes) {
    Block& block = *current->block;
    if (in_window(address)) {
        memcpy(settle(address, bytes), value, bytes);
        settle(address, bytes);
        return;
    }
    RelaxedStore store{(char*)address, bytes, {}};
    memcpy(store.value, value, bytes);
    block.relaxed_stores.push_back(store);
    if (block.relaxed_stores.size() > most) land(block, false);
}

void get_relaxed(const void* address, void* value, size_t bytes) {
    const std::vector<RelaxedStore>& stores = current->block->relaxed_stores;
    for (auto store = stores.rbegin(); store != stores.rend(); ++store)
        if (store->address == address) {
            memcpy(value, store->value, bytes);
            return;
        }
    memcpy(value, settle(address, bytes), bytes);
}

void land_relaxed_stores(Block& block) { land(block, true); }

void land_relaxed_stores_to(const void* address, size_t bytes) {
    for (const RelaxedStore& store : current->block->relaxed_stores)
        if (store.address < (char*)address + bytes && (char*)address < store.address + store.bytes)
            return land(*current->block, true);
}

void land_some_relaxed_stores(Block& block) { land(block, launch.options.order != 2); }

}  // namespace emulator
