// Stores to the shared memory of other blocks of a cluster land late, without checks.  map_shared leads to a window, a
// copy that takes what its block stores; this lands in the memory itself when the barrier of the cluster opens, with a
// fence, or in parts before.  What others store is seen in a window only after the barrier.
#include <string.h>

#include <algorithm>

#include "state.h"

namespace emulator {

struct Window {
    Block* owner;  // of the memory
    std::vector<char> room;
    char *seen, *arrived, *base;  // now, when the block arrived at the barrier, and when last brought up to date
};

namespace {

constexpr size_t line = 64;

size_t statics_room() { return (statics_size + 1023) & ~size_t(1023); }
size_t window_size() { return (statics_room() + launch.shared + line - 1) / line * line; }

char* place(Block& owner, size_t offset) {
    if (offset >= statics_room()) return owner.dynamic_base() + (offset - statics_room());
    return (&owner == current->block ? statics : owner.statics.data()) + offset;
}

// Calls use(offset, place in the memory, bytes) for the lines of a part of a window that are not to be skipped.
template <class Skip, class Use>
void each_line(Block& owner, size_t from, size_t to, Skip skip, Use use) {
    for (size_t offset = from / line * line; offset < to; offset += line) {
        if (skip(offset)) continue;
        const size_t end = offset < statics_room() ? statics_size : statics_room() + launch.shared;
        if (offset < end) use(offset, place(owner, offset), std::min(line, end - offset));
    }
}

void land(const Window& window, const char* stored, size_t from, size_t to) {
    each_line(
        *window.owner, from, to,
        [&](size_t offset) { return !memcmp(stored + offset, window.base + offset, line); },
        [&](size_t offset, char* memory, size_t bytes) {
            for (size_t i = 0; i < bytes; i++)
                if (stored[offset + i] != window.base[offset + i]) memory[i] = stored[offset + i];
        });
}

void land_now(const Window& window, size_t from, size_t to) {
    land(window, window.seen, from, to);
    memcpy(window.base + from, window.seen + from, to - from);
    memcpy(window.arrived + from, window.seen + from, to - from);
}

// What was stored after the arrival is kept.
void bring_up_to_date(const Window& window) {
    each_line(
        *window.owner, 0, window_size(), [](size_t) { return false; },
        [&](size_t offset, const char* memory, size_t bytes) {
            char *seen = window.seen + offset, *arrived = window.arrived + offset;
            for (size_t i = 0; i < bytes; i++)
                if (seen[i] == arrived[i]) seen[i] = memory[i];
            memcpy(arrived, memory, bytes);
            memcpy(window.base + offset, memory, bytes);
        });
}

const Window* find_window(const void* address) {
    for (const auto& window : current->block->windows)
        if (window && address >= window->seen && address < window->seen + window_size()) return window.get();
    return nullptr;
}

void note_arrival(Block& block) {
    for (const auto& window : block.windows)
        if (window) memcpy(window->arrived, window->seen, window_size());
    block.arrived = 0;
    block.noted = true;
}

}  // namespace

void* window_onto(Block& owner, const char* place_in_own) {
    Block& block = *current->block;
    block.windows.resize(block.cluster->blocks.size());
    auto& window = block.windows[owner.cluster_rank];
    if (!window) {
        window = std::make_shared<Window>();
        window->owner = &owner;
        window->room.resize(3 * window_size() + 1024);
        window->seen = (char*)(((uintptr_t)window->room.data() + 1023) & ~(uintptr_t)1023);
        window->arrived = window->seen + window_size();
        window->base = window->arrived + window_size();
        bring_up_to_date(*window);
    }
    const char* base = block.dynamic_base();
    const bool dynamic = place_in_own >= base && place_in_own <= base + launch.shared;
    return window->seen + (dynamic ? statics_room() + (place_in_own - base) : place_in_own - statics);
}

bool in_window(const void* address) { return find_window(address) != nullptr; }

void* settle(const void* address, size_t bytes) {
    land_relaxed_stores_to(address, bytes);
    const Window* window = find_window(address);
    if (!window) return (void*)address;
    const size_t offset = (const char*)address - window->seen;
    char* memory = place(*window->owner, offset);
    for (size_t i = 0; i < bytes; i++)
        if (window->seen[offset + i] != window->base[offset + i]) memory[i] = window->seen[offset + i];
    for (char* copy : {window->seen, window->arrived, window->base}) memcpy(copy + offset, memory, bytes);
    return memory;
}

void arrive_with_stores(Block& block) {
    if (++block.arrived == block.alive) note_arrival(block);
}

void land_at_barrier(Cluster& cluster) {
    for (Block* block : cluster.blocks) {
        if (!block->noted) note_arrival(*block);
        block->noted = false;
        for (const auto& window : block->windows)
            if (window) land(*window, window->arrived, 0, window_size());
    }
    for (Block* block : cluster.blocks)
        for (const auto& window : block->windows)
            if (window) bring_up_to_date(*window);
}

void land_all(Block& block) {
    for (const auto& window : block.windows)
        if (window) land_now(*window, 0, window_size());
}

void land_some(Block& block) {
    if (block.windows.empty() || launch.options.order == 0) return;
    if (launch.options.order == 1) return land_all(block);
    const auto& window = block.windows[random_number() % block.windows.size()];
    const size_t lines = window_size() / line, from = random_number() % lines, to = random_number() % lines;
    if (window && from < to) land_now(*window, from * line, to * line);
}

void close_windows_onto(Block& owner) {
    for (Block* block : owner.cluster->blocks)
        if (owner.cluster_rank < block->windows.size())
            if (const auto& window = block->windows[owner.cluster_rank])
                memset(window->seen, launch.options.poison, 3 * window_size());
}

}  // namespace emulator
