// Races, bounds, constness and initialisation of what a kernel loads and stores.
// Kernels are compiled with -fsanitize=thread but linked without its library: its hooks are here.
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>

#include "state.h"

namespace emulator {

struct Cell {  // of one byte
    Event store;
    Event loads[2];      // the last ones of two threads
    Event foreign_load;  // the last one of another block than that of loads[0]
};

namespace {

struct Range {  // an array that the kernel was given
    char* start;
    size_t size;
    bool constant;
    Cell* cells;
};

std::vector<Range> ranges;
std::vector<Cell*> allocated;

struct Release {
    unsigned fence, store;  // the clock at the fence, and at the atomic store that follows it
    unsigned thread, epoch;
};

std::vector<std::vector<Release>> releases;     // of each block, by the clock of the store
std::vector<std::vector<unsigned>> handovers;  // of each block, by the clock
unsigned clock_now;

unsigned threads_of_block() { return blockDim.x * blockDim.y * blockDim.z; }

bool in_cluster(unsigned block) {
    for (Block* member : current->block->cluster->blocks)
        if (member->id == block) return true;
    return false;
}

// A release by the same warp after the access, or by another one of its block after a barrier, and an acquire
// after the store that made it known, whatever they met at: no false alarm.
bool released(const Event& before, unsigned block, unsigned acquired) {
    const std::vector<Release>& all = releases[block];
    auto each = std::upper_bound(all.begin(), all.end(), acquired,
                                 [](unsigned clock, const Release& release) { return clock < release.store; });
    while (each-- != all.begin() && each->store > before.clock) {
        if (each->fence <= before.clock) continue;
        const bool same_warp = each->thread / 32 == (before.thread - 1) % threads_of_block() / 32;
        if (same_warp || each->epoch != before.epoch) return true;
    }
    return false;
}

// The barrier of a cluster is a release too, but inside the cluster it is known exactly what it orders.
bool ordered_by_release(const Event& before, unsigned block, unsigned acquired) {
    if (released(before, block, acquired)) return true;
    if (in_cluster(block)) return false;
    const std::vector<unsigned>& times = handovers[block];
    const auto first = std::upper_bound(times.begin(), times.end(), before.clock);
    return first != times.end() && *first <= acquired;
}

const char* conflict(const Event& before, const Event& now) {
    if (!before.thread || (before.thread == now.thread && !before.async) || (before.atomic && now.atomic)) return nullptr;
    const unsigned threads = threads_of_block(), block = (before.thread - 1) / threads;
    if (before.async)  // only who waits for its barrier in memory knows that it has landed
        return before.clock < current->counted ? nullptr : "race with an asynchronous store (not waited for)";
    if (block != current->block->id) {
        const bool near = in_cluster(block);
        if ((near && before.arrivals < current->seen) || ordered_by_release(before, block, current->acquired))
            return nullptr;
        return near ? "race inside a cluster (no barrier of the cluster between)" : "race between blocks";
    }
    if (before.epoch != now.epoch || before.arrivals < current->seen) return nullptr;
    const unsigned other = (before.thread - 1) % threads, own = current->rank;
    if (other / 32 != own / 32) return "race inside a block (no __syncthreads between)";
    if (current->block->warps[own / 32].together[other % 32][own % 32] > before.warp_now) return nullptr;
    return "race inside a warp (no __syncwarp between)";
}

// The cells of a block's shared memory, of which `image` is the static one, or null.
Cell* shared_cells_of(Block& block, char* image, char* address, size_t bytes) {
    char* base = block.dynamic_base();
    if (address >= base && address + bytes <= base + launch.shared)
        return block.cells + statics_size + (address - base);
    if (address >= image && address + bytes <= image + statics_size) return block.cells + (address - image);
    return nullptr;
}

// The cells of shared memory, with the block it is of, or of an array; null with a fault, or with none where
// nothing is checked.
Cell* find_cells(char* address, size_t bytes, bool store, Block*& owner, const char*& fault) {
    if (on_a_stack(address)) return nullptr;
    for (Block* block : current->block->cluster->blocks) {
        char* image = block == current->block ? statics : block->statics.data();
        if (Cell* cells = shared_cells_of(*block, image, address, bytes)) {
            owner = block;
            return cells;
        }
    }
    if (address >= module_low && address < module_high) return nullptr;
    Cell* cells = nullptr;
    for (const Range& range : ranges) {
        if (address < range.start || address + bytes > range.start + range.size) continue;
        cells = range.cells + (address - range.start);
        if (!store || !range.constant) return cells;
    }
    fault = cells ? "store to a const array" : "access out of bounds";
    return nullptr;
}

// Of the shared memory of another block of the cluster.
const char* reach(Block& owner, const Event& now) {
    if (!owner.alive) return "access to the shared memory of a block that has exited";
    if (!current->seen && !current->acquired)
        return "access to the shared memory of a block that may not have started (no barrier of the cluster)";
    Event& last = owner.foreign[current->block->cluster_rank];
    const unsigned arrivals = last.thread ? std::max(last.arrivals, now.arrivals) : now.arrivals;
    last = now;
    last.arrivals = arrivals;
    return nullptr;
}

bool is_store(Access access) {
    return access == Access::store || access == Access::atomic || access == Access::async_store;
}

const char* record(Cell& cell, const Event& now, Access access, bool shared) {
    if (cell.store.copying) return "access to what an asynchronous copy still fills (not waited for)";
    const bool stores = is_store(access);
    if (access == Access::read_only_load) {
        if (cell.store.thread) return "__ldg of what the launch has stored";
        cell.store.read_only = 1;
    } else if (stores && cell.store.read_only) {
        return "store to what the launch has read by __ldg";
    }
    if (shared && !stores && !cell.store.thread)
        return "load of shared memory never stored to";
    if (const char* fault = conflict(cell.store, now)) return fault;
    if (!stores) {
        const unsigned threads = threads_of_block();
        Event& last = cell.loads[0];
        if (last.thread && (last.thread - 1) / threads != current->block->id) cell.foreign_load = last;
        if (last.thread != now.thread) cell.loads[1] = last;
        last = now;
        return nullptr;
    }
    const char* fault = conflict(cell.loads[0], now);
    if (!fault) fault = conflict(cell.loads[1], now);
    if (!fault) fault = conflict(cell.foreign_load, now);
    cell.store = now;
    return fault;
}

const char* check_bytes(char* address, size_t bytes, Access access, bool aligned) {
    const char* fault = nullptr;
    Block* owner = nullptr;
    const bool stores = is_store(access);
    Cell* cells = find_cells(address, bytes, stores, owner, fault);
    if (fault) return fault;
    if (aligned && (uintptr_t)address % bytes) return "misaligned access";
    if (!cells) return nullptr;
    if (owner && access == Access::read_only_load) return "__ldg of shared memory";
    const Block& block = *current->block;
    const bool atomic = access == Access::atomic || access == Access::atomic_load;
    const Event now{block.id * threads_of_block() + current->rank + 1, block.epoch,
                    block.warps[current->rank / 32].now, current->arrivals, clock_now, atomic, 0, 0,
                    access == Access::async_store};
    if (atomic) observe();
    if (access == Access::atomic && current->fenced) {
        releases[block.id].push_back({current->fenced, ++clock_now, current->rank, current->epoch});
        current->fenced = 0;
    }
    if (owner && owner != &block) fault = reach(*owner, now);
    for (size_t i = 0; i < bytes && !fault; i++) fault = record(cells[i], now, access, owner);
    return fault;
}

void report(const char* fault, size_t bytes, Access access, const void* code, int line) {
    const char* const names[] = {"load", "store", "atomic load", "atomic", "read-only load", "asynchronous store"};
    char text[240], place[40] = "";
    if (code) snprintf(place, sizeof place, " at 0x%zx", size_t((const char*)code - module_low));
    snprintf(text, sizeof text, "%s: %zu-byte %s%s", fault, bytes, names[int(access)], place);
    fail(text, line);
}

void hook(void* address, size_t bytes, Access access, bool aligned, const void* code) {
    Quiet quiet;
    const char* fault = check_bytes((char*)address, bytes, access, aligned);
    if (fault) report(fault, bytes, access, code, 0);
}

}  // namespace

bool in_shared(const void* pointer, size_t bytes) {
    const char *address = (const char*)pointer, *base = current->block->dynamic_base();
    return (address >= base && address + bytes <= base + launch.shared) ||
           (address >= statics && address + bytes <= statics + statics_size);
}

void check(const void* address, size_t bytes, Access access, int line) {
    if (!launch.options.checked) return;
    Quiet quiet;
    const bool aligned = access != Access::load && access != Access::store;
    const char* fault = check_bytes((char*)address, bytes, access, aligned);
    if (fault) report(fault, bytes, access, nullptr, line);
}

void release() {
    land_relaxed_stores(*current->block);
    land_all(*current->block);
    release_to_acquirers();
}

void release_to_acquirers() {
    if (!launch.options.checked) return;
    current->fenced = ++clock_now;
    current->epoch = current->block->epoch;
}

void hand_over() {
    if (launch.options.checked) handovers[current->block->id].push_back(++clock_now);
}

void observe() { current->observed = clock_now; }

void acquire() {
    current->acquired = std::max(current->acquired, current->observed);
    current->block->acquired = std::max(current->block->acquired, current->acquired);
}

void know_async_stores() {
    current->counted = ++clock_now;
    current->block->counted = std::max(current->block->counted, current->counted);
}

Cell* shared_cells() { return (Cell*)calloc(statics_size + launch.shared + 1, sizeof(Cell)); }

void mark_copy(const Copy& copy, bool pending) {
    Block* owner;
    const char* fault;
    Cell* cells = find_cells(copy.to, copy.bytes, true, owner, fault);
    for (int i = 0; i < copy.bytes; i++) cells[i].store.copying = pending;
}

void check_end() {
    Block& block = *current->block;
    for (const Event& last : block.foreign)
        if (last.thread && last.arrivals >= block.seen &&
            !ordered_by_release(last, (last.thread - 1) / threads_of_block(), block.acquired))
            fail("a block exits while another may access its shared memory (no barrier of the cluster)", 0);
}

void start_checks(unsigned blocks) {
    clock_now = 0;
    releases.assign(blocks, {});
    handovers.assign(blocks, {});
    // Ranges that overlap share cells.
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.start < b.start; });
    for (size_t first = 0, next; first < ranges.size(); first = next) {
        char *start = ranges[first].start, *end = start + ranges[first].size;
        for (next = first + 1; next < ranges.size() && ranges[next].start < end; next++)
            end = std::max(end, ranges[next].start + ranges[next].size);
        Cell* cells = (Cell*)calloc(end - start + 1, sizeof(Cell));
        allocated.push_back(cells);
        for (size_t i = first; i < next; i++) ranges[i].cells = cells + (ranges[i].start - start);
    }
}

void end_checks() {
    for (Cell* cells : allocated) free(cells);
    allocated.clear();
    ranges.clear();
}

}  // namespace emulator

#define HOOK(name, bytes, access, aligned)                                                            \
    extern "C" void name(void* address) {                                                             \
        if (emulator::live)                                                                           \
            emulator::hook(address, bytes, emulator::Access::access, aligned, __builtin_return_address(0)); \
    }
#define HOOKS(bytes)                                             \
    HOOK(__tsan_read##bytes, bytes, load, true)                  \
    HOOK(__tsan_write##bytes, bytes, store, true)                \
    HOOK(__tsan_unaligned_read##bytes, bytes, load, false)       \
    HOOK(__tsan_unaligned_write##bytes, bytes, store, false)     \
    HOOK(__tsan_volatile_read##bytes, bytes, atomic_load, true)  \
    HOOK(__tsan_volatile_write##bytes, bytes, atomic, true)
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)

extern "C" void __tsan_read_range(void* address, size_t bytes) {
    if (emulator::live)
        emulator::hook(address, bytes, emulator::Access::load, false, __builtin_return_address(0));
}
extern "C" void __tsan_write_range(void* address, size_t bytes) {
    if (emulator::live)
        emulator::hook(address, bytes, emulator::Access::store, false, __builtin_return_address(0));
}
extern "C" void __tsan_init() {}

EMULATOR_EXPORTED void emulator_range(char* start, size_t size, int constant) {
    emulator::ranges.push_back({start, size, constant != 0, nullptr});
}
