// Threads as fibers, their schedule, barriers of blocks and meetings of warps.
#include <immintrin.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>

#include "state.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

// Keeps the registers that a call preserves on the stack it leaves, and goes on with the other stack.
extern "C" void emulator_switch(void** leave, void* enter);
asm(R"(
    .text
    .p2align 4
    .hidden emulator_switch
    .globl emulator_switch
    .type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulator_switch, .-emulator_switch
)");

namespace emulator {

Launch launch;
Fiber* current;
bool live;
char *statics, *module_low, *module_high;
size_t statics_size;

namespace {

constexpr size_t stack_size = 64 << 10, page = 4096;
constexpr size_t guarded = 64;  // fibers with a guard page: each takes two of the mappings that Linux gives a process
constexpr unsigned long long switch_limit = 400000000;  // some ten seconds
constexpr unsigned idle_limit = 4000000;
constexpr unsigned most_at_once = 3;  // clusters of a launch that is not cooperative

void* scheduler_stack;
std::vector<Fiber*> fibers;
struct Mapping {
    char* start;
    size_t size;
};
std::vector<Mapping> stacks;
std::vector<Meeting*> free_meetings;
unsigned spins;  // in a row

void leave() { emulator_switch(&current->stack_pointer, scheduler_stack); }

void let_others_run() {
    wake(current);
    leave();
}

bool now_and_then() { return random_number() % (launch.options.order == 2 ? 4 : 16) == 0; }

void open_barrier(Block& block) {
    progress();
    block.epoch++;
    block.votes[int(Vote::count)] = block.count;
    block.votes[int(Vote::all)] = block.all;
    block.votes[int(Vote::any)] = block.any;
    block.count = block.any = block.waiting = 0;
    block.all = 1;
    for (Fiber* fiber : block.threads) {
        fiber->seen = block.seen;
        fiber->acquired = block.acquired;
        fiber->counted = block.counted;
        if (fiber->state == State::at_barrier) wake(fiber);
    }
}

void finish_meetings(Block& block, unsigned warp_index) {
    Warp& warp = block.warps[warp_index];
    for (size_t i = 0; i < warp.meetings.size();) {
        Meeting* meeting = warp.meetings[i];
        // A lane that has ended is waited for no more.
        if (((meeting->arrived | warp.exited) & meeting->mask) != meeting->mask) {
            i++;
            continue;
        }
        progress();
        warp.meetings.erase(warp.meetings.begin() + i);
        const unsigned arrived = meeting->arrived;
        meeting->compute(meeting->context, meeting->in, meeting->out, arrived);
        if (meeting->operation.orders_memory && launch.options.checked) {
            warp.now++;
            unsigned acquired = 0;
            for (int a = 0; a < 32; a++)
                for (int b = 0; b < 32; b++)
                    if (arrived >> a & arrived >> b & 1) warp.together[a][b] = warp.now;
            for (int pass = 0; pass < 2; pass++)
                for (unsigned lanes = arrived; lanes; lanes &= lanes - 1) {
                    Fiber* lane = block.threads[32 * warp_index + __builtin_ctz(lanes)];
                    acquired = lane->acquired = std::max(acquired, lane->acquired);
                }
        }
        for (unsigned lanes = arrived; lanes; lanes &= lanes - 1)
            wake(block.threads[32 * warp_index + __builtin_ctz(lanes)]);
        free_meetings.push_back(meeting);
    }
}

void run_threads() {  // on a fiber's stack: one thread after the other
    for (;;) {
        live = true;
        launch.body(launch.context);
        live = false;
        Block& block = *current->block;
        end_in_cluster();
        current->state = State::done;
        progress();
        launch.alive--;
        block.alive--;
        block.warps[current->rank / 32].exited |= 1u << current->rank % 32;
        finish_meetings(block, current->rank / 32);
        if (block.alive && block.waiting == block.alive) open_barrier(block);
        leave();
    }
}

void resume(Fiber* fiber) {
    current = fiber;
    threadIdx = fiber->index;
    blockIdx = fiber->block->index;
    if (++launch.switches > switch_limit) {
        launch.error = "no end: " + std::to_string(switch_limit) + " switches between threads";
        return;
    }
    if (!fiber->started) {  // the stack that emulator_switch would have left
        fiber->started = true;
        void** top = (void**)fiber->stack_top;
        *--top = nullptr;
        *--top = (void*)run_threads;
        for (int preserved = 0; preserved < 6; preserved++) *--top = nullptr;
        fiber->stack_pointer = top;
    }
    emulator_switch(&scheduler_stack, fiber->stack_pointer);
}

bool make_fibers(size_t needed) {
    if (fibers.size() >= needed) return true;
    const size_t more = needed - fibers.size();
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char* memory = (char*)mmap(nullptr, more * stack_size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) return false;
    stacks.push_back({memory, more * stack_size});
    for (size_t i = 0; i < more; i++) {
        Fiber* fiber = new Fiber();
        if (fibers.size() < guarded) mprotect(memory + i * stack_size, page, PROT_NONE);
        // Staggered, or all stacks would compete for the same lines of the cache.
        fiber->stack_top = memory + (i + 1) * stack_size - i % 60 * 64;
        fibers.push_back(fiber);
    }
    return true;
}

void make_block(unsigned id, size_t first_fiber, Cluster& cluster) {
    Block* block = new Block();
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    block->id = id;
    block->index = {id % gridDim.x, id / gridDim.x % gridDim.y, id / gridDim.x / gridDim.y};
    block->cluster = &cluster;
    block->cluster_rank = cluster.blocks.size();
    cluster.blocks.push_back(block);
    cluster.alive += threads;
    block->warps.resize((threads + 31) / 32);
    if (threads % 32) block->warps.back().exited = ~0u << threads % 32;
    block->alive = threads;
    block->dynamic.assign(launch.shared + 1024, char(launch.options.poison));
    block->statics.assign(statics_size, char(launch.options.poison));
    if (launch.options.checked) block->cells = shared_cells();
    for (unsigned rank = 0; rank < threads; rank++) {
        Fiber* fiber = fibers[first_fiber + rank];
        fiber->block = block;
        fiber->rank = rank;
        fiber->index = {rank % blockDim.x, rank / blockDim.x % blockDim.y, rank / blockDim.x / blockDim.y};
        fiber->state = State::ready;
        fiber->copies.clear();
        fiber->groups = fiber->arrivals = fiber->waits = fiber->seen = 0;
        fiber->fenced = fiber->observed = fiber->acquired = fiber->counted = 0;
        block->threads.push_back(fiber);
    }
    block->ready = block->threads;
    if (launch.options.order == 1) std::reverse(block->ready.begin(), block->ready.end());
    launch.alive += threads;
    launch.blocks.push_back(block);
}

void make_cluster(unsigned number, dim3 dims, size_t first_fiber, Cluster& cluster) {
    const unsigned wide = gridDim.x / dims.x, high = gridDim.y / dims.y;
    const unsigned members = dims.x * dims.y * dims.z, threads = blockDim.x * blockDim.y * blockDim.z;
    for (unsigned rank = 0; rank < members; rank++) {
        const unsigned x = number % wide * dims.x + rank % dims.x;
        const unsigned y = number / wide % high * dims.y + rank / dims.x % dims.y;
        const unsigned z = number / wide / high * dims.z + rank / dims.x / dims.y;
        make_block(x + gridDim.x * (y + gridDim.y * z), first_fiber + size_t(rank) * threads, cluster);
        cluster.blocks.back()->foreign.resize(members);
    }
    if (launch.options.order == 1) std::reverse(launch.blocks.end() - members, launch.blocks.end());
}

void delete_block(Block* block) {
    for (Fiber* fiber : block->threads)
        if (fiber->state != State::done) fiber->started = false;  // abandoned after an error
    for (Warp& warp : block->warps)
        for (Meeting* meeting : warp.meetings) free_meetings.push_back(meeting);
    free(block->cells);
    delete block;
}

Fiber* next_ready(Block& block) {
    std::vector<Fiber*>& ready = block.ready;
    Fiber* fiber;
    if (launch.options.order == 2) {
        const size_t chosen = random_number() % ready.size();
        fiber = ready[chosen];
        ready[chosen] = ready.back();
        ready.pop_back();
    } else {
        fiber = ready[block.head++];
        if (block.head == ready.size()) {
            ready.clear();
            block.head = 0;
        } else if (block.head > 8192) {
            ready.erase(ready.begin(), ready.begin() + block.head);
            block.head = 0;
        }
    }
    return fiber;
}

// Runs a block's threads until none is ready, all but spin, or other blocks shall have their turn.
void run_block(Block& block) {
    if (statics_size) memcpy(statics, block.statics.data(), statics_size);
    const bool random = launch.options.order == 2;
    unsigned long long turns = ~0ull;
    const bool several = launch.blocks.size() > 1;
    if (several) {
        const size_t most = 8 * block.threads.size();
        turns = random ? 1 + random_number() % most : most;
    }
    spins = 0;
    while (block.ready.size() > block.head && turns-- && launch.error.empty()) {
        resume(next_ready(block));
        if (several && spins > block.ready.size() - block.head) break;
    }
    land_some(block);
    block.alive ? land_some_relaxed_stores(block) : land_relaxed_stores(block);
    land_async_stores(!random);
    if (statics_size) memcpy(block.statics.data(), statics, statics_size);
}

void report_deadlock() {
    launch.error = "deadlock:";
    int told = 0;
    for (Block* block : launch.blocks)
        for (Fiber* fiber : block->threads) {
            if (fiber->state == State::ready || fiber->state == State::done) continue;
            if (told == 6 || (told && fiber->rank % 7 != unsigned(told))) continue;
            told++;
            char text[160];
            snprintf(text, sizeof text, " [block %u thread %u waits in %s, line %d, mask %08x]", block->id,
                     fiber->rank, fiber->waits_in.name, fiber->waits_in.line, fiber->mask);
            launch.error += text;
        }
}

void run_blocks() {
    while (launch.alive && launch.error.empty()) {
        bool any = false;
        for (size_t i = 0; i < launch.blocks.size() && launch.error.empty(); i++) {
            Block& block =
                *launch.blocks[launch.options.order == 2 ? random_number() % launch.blocks.size() : i];
            if (block.ready.size() == block.head) continue;
            any = true;
            run_block(block);
        }
        for (Block* block : launch.blocks) any = any || block->ready.size() > block->head;
        if (any || !launch.alive || !launch.error.empty()) continue;
        launch.async_stores.empty() ? report_deadlock() : land_async_stores(true);
    }
}

thread_local __attribute__((used)) char touched;  // so that this thread of the process has its image

int find_module(dl_phdr_info* info, size_t, void*) {
    const uintptr_t own = (uintptr_t)&find_module;
    bool found = false;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const auto& segment = info->dlpi_phdr[i];
        const uintptr_t start = info->dlpi_addr + segment.p_vaddr;
        found = found || (segment.p_type == PT_LOAD && own >= start && own < start + segment.p_memsz);
    }
    if (!found) return 0;
    module_low = (char*)info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const auto& segment = info->dlpi_phdr[i];
        if (segment.p_type == PT_TLS) {
            statics = (char*)info->dlpi_tls_data;
            statics_size = segment.p_memsz;
        } else if (segment.p_type == PT_LOAD) {
            module_high = module_low + segment.p_vaddr + segment.p_memsz;
        }
    }
    return 1;
}

}  // namespace

char* Block::dynamic_base() { return (char*)(((uintptr_t)dynamic.data() + 1023) & ~(uintptr_t)1023); }

void wake(Fiber* fiber) {
    fiber->state = State::ready;
    fiber->block->ready.push_back(fiber);
}

void wait(State state, Operation operation, unsigned mask) {
    current->state = state;
    current->waits_in = operation;
    current->mask = mask;
    leave();
}

unsigned random_number() {
    launch.random = launch.random * 6364136223846793005ull + 1442695040888963407ull;
    return unsigned(launch.random >> 33);
}

bool on_a_stack(const void* address) {
    for (const Mapping& stack : stacks)
        if (address >= stack.start && address < stack.start + stack.size) return true;
    return false;
}

void perhaps_switch() {
    Quiet quiet;
    if (now_and_then()) let_others_run();
}

void spin(int line) {
    Quiet quiet;
    spins++;
    if (++launch.idle > idle_limit)
        fail(launch.to_start ? "livelock: threads wait in a loop for what no resident block does"
                             : "livelock: threads wait in a loop for what none does",
             line);
    let_others_run();
}

void perhaps_spin(int line) {
    if (now_and_then()) spin(line);
}

void progress() { launch.idle = spins = 0; }

[[noreturn]] void fail(const char* what, int line) {
    live = false;
    const uint3 &b = current->block->index, &t = current->index;
    char text[120];
    snprintf(text, sizeof text, " (block %u,%u,%u thread %u,%u,%u", b.x, b.y, b.z, t.x, t.y, t.z);
    launch.error = std::string(what) + text + (line ? ", line " + std::to_string(line) + ")" : ")");
    leave();
    abort();  // never resumed
}

int block_barrier(int line, int predicate, Vote vote) {
    Quiet quiet;
    Block& block = *current->block;
    if (block.waiting == 0)
        block.line = line;
    else if (block.line != line)
        fail("divergent __syncthreads: other threads of the block wait on another line", line);
    block.count += predicate != 0;
    block.all &= predicate != 0;
    block.any |= predicate != 0;
    if (++block.waiting == block.alive) {
        open_barrier(block);
        let_others_run();
    } else {
        wait(State::at_barrier, {"__syncthreads", line, true}, 0);
    }
    return block.votes[int(vote)];
}

void meet(unsigned mask, Operation operation, const void* in, void* out, Compute compute, void* context) {
    Quiet quiet;
    const unsigned lane = current->rank % 32;
    Warp& warp = current->block->warps[current->rank / 32];
    if (!(mask >> lane & 1))
        fail("operation of a warp: the calling lane is not in its own mask", operation.line);
    Meeting* meeting = nullptr;
    for (Meeting* other : warp.meetings)
        if (other->mask == mask) meeting = other;
    if (meeting && !(meeting->operation == operation))
        fail("divergent operation of a warp: lanes of the mask wait in another one", operation.line);
    if (!meeting) {
        if (free_meetings.empty()) free_meetings.push_back(new Meeting());
        meeting = free_meetings.back();
        free_meetings.pop_back();
        meeting->mask = mask;
        meeting->arrived = 0;
        meeting->operation = operation;
        warp.meetings.push_back(meeting);
    }
    meeting->arrived |= 1u << lane;
    meeting->in[lane] = in;
    meeting->out[lane] = out;
    meeting->compute = compute;
    meeting->context = context;
    current->state = State::in_warp;
    current->waits_in = operation;
    current->mask = mask;
    finish_meetings(*current->block, current->rank / 32);
    leave();
}

unsigned thread_rank() { return current->rank; }
int poison() { return launch.options.poison; }

void* dynamic_shared() { return current->block->dynamic_base(); }

int run(dim3 grid, dim3 block, dim3 cluster, size_t shared, Options options, void (*body)(void*),
        void* context) {
    const unsigned blocks = grid.x * grid.y * grid.z, threads = block.x * block.y * block.z;
    const unsigned members = cluster.x * cluster.y * cluster.z, clusters = blocks / members;
    launch.error.clear();
    launch.async_stores.clear();
    launch.options = options;
    launch.shared = shared;
    launch.random = options.seed * 2654435761u + 12345;
    launch.body = body;
    launch.context = context;
    launch.alive = launch.switches = launch.idle = 0;
    gridDim = grid;
    blockDim = block;
    live = false;
    asm volatile("" : : "r"(&touched) : "memory");
    dl_iterate_phdr(find_module, nullptr);
    auto& [of_17, of_9] = launch.sum_order;
    for (int i = 0; i < 17; i++) of_17[i] = options.order == 1 ? 16 - i : i;
    if (options.order == 2)
        for (int i = 17; i > 1; i--) std::swap(of_17[i - 1], of_17[random_number() % i]);
    std::copy_if(of_17, of_17 + 17, of_9, [](int term) { return term < 9; });
    std::vector<unsigned> order(clusters);
    for (unsigned i = 0; i < clusters; i++) order[i] = options.order == 1 ? clusters - 1 - i : i;
    if (options.order == 2)
        for (unsigned i = clusters; i > 1; i--) std::swap(order[i - 1], order[random_number() % i]);
    unsigned together = options.cooperative ? clusters : 1;  // clusters alive at a time
    if (!options.cooperative && options.order == 2) together = std::min(1 + random_number() % most_at_once, clusters);
    if (!make_fibers(size_t(together) * members * threads))
        launch.error = "no memory for the stacks of the threads";
    if (options.checked) start_checks(blocks);
    for (unsigned first = 0; first < clusters && launch.error.empty(); first += together) {
        std::vector<Cluster> alive(std::min(together, clusters - first));
        launch.to_start = clusters - first - alive.size();
        for (unsigned i = 0; i < alive.size(); i++)
            make_cluster(order[first + i], cluster, size_t(i) * members * threads, alive[i]);
        const unsigned before = _mm_getcsr();
        if (options.flush) _mm_setcsr(before | _MM_FLUSH_ZERO_ON | 0x40);  // and denormals that are read
        catch_crashes();
        run_blocks();
        if (launch.error.empty()) land_async_stores(true);
        release_crashes();
        _mm_setcsr(before);
        for (Block* each : launch.blocks) delete_block(each);
        launch.blocks.clear();
        launch.alive = 0;
    }
    end_checks();
    return !launch.error.empty();
}

}  // namespace emulator

EMULATOR_EXPORTED const char* emulator_error() { return emulator::launch.error.c_str(); }
