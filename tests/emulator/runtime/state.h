// What the parts of the runtime share: threads, warps, blocks and the launch that runs.
#pragma once
#define EMULATOR_RUNTIME
#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <string>
#include <vector>

#include "language.h"
#include "vector_types.h"

#include "runtime.h"

#include "async_copy.h"

namespace emulator {

struct Block;
struct Fiber;

struct Meeting {  // lanes of a warp that wait for the rest of a mask
    unsigned mask, arrived;
    Operation operation;
    Compute compute;
    void* context;
    const void* in[32];
    void* out[32];
};

struct Warp {
    std::vector<Meeting*> meetings;
    unsigned exited = 0;
    unsigned now = 0;                // counts __syncwarp
    unsigned together[32][32] = {};  // when two lanes last met in one
};

struct Copy {  // cp.async
    char* to;
    const char* from;
    int bytes, source_bytes, line;
    unsigned group;
};

enum class State { ready, in_warp, at_barrier, at_cluster, done };

struct Fiber {  // runs one thread
    void* stack_pointer;
    char* stack_top;
    bool started = false;
    Block* block;
    uint3 index;
    unsigned rank;
    State state;
    Operation waits_in;  // for the report of a deadlock
    unsigned mask;
    std::vector<Copy> copies;
    unsigned groups;  // of copies, committed
    unsigned arrivals, waits;  // at barriers of the cluster
    unsigned seen;             // barriers of the cluster that it knows open, by its own wait or its block's
    unsigned fenced, epoch;    // the clock and the block's epoch of a release that awaits an atomic store, or 0
    unsigned observed;         // the clock of its last atomic load, which an acquire reaches back to
    unsigned acquired;         // the clock that it has acquired, or another thread before a barrier
    unsigned counted;          // the clock when it last waited for asynchronous stores, or another before a barrier
};

struct Cell;

struct Event {  // a load or store; thread 0: none; copying, read_only: of a byte in its last store
    unsigned thread = 0, epoch, warp_now, arrivals, clock : 28, atomic : 1, copying : 1, read_only : 1, async : 1;
};

struct Window;

struct RelaxedStore {
    char* address;
    size_t bytes;
    char value[16];
};

struct AsyncStore {  // st.async that has not landed
    Block* owner;  // of the memory
    char *to, *barrier;
    size_t bytes;
    char value[16];
};

struct Cluster {
    std::vector<Block*> blocks;       // by rank
    unsigned alive = 0, arrived = 0;  // of the threads
    unsigned opened = 0;              // counts barriers
};

struct Block {
    uint3 index;
    unsigned id;
    Cluster* cluster;
    unsigned cluster_rank;
    unsigned seen = 0;           // barriers of the cluster, the most that one of its threads knows open
    std::vector<Event> foreign;  // of other blocks by rank: the last accesses to its shared memory
    std::vector<Fiber*> threads, ready;
    size_t head = 0;  // of ready
    std::vector<Warp> warps;
    unsigned alive, waiting = 0;  // of the threads
    int line = 0;                 // of the barrier they wait at
    int count = 0, all = 1, any = 0, votes[3];
    unsigned epoch = 0;     // counts barriers
    unsigned acquired = 0;  // the latest clock that one of its threads has acquired
    unsigned counted = 0;   // that at which one of its threads has waited for asynchronous stores
    std::vector<std::shared_ptr<Window>> windows;  // onto the memory of other blocks by rank, or null
    std::vector<RelaxedStore> relaxed_stores;      // that other blocks do not see yet
    unsigned arrived = 0;                          // of its threads, at the barrier of the cluster
    bool noted = false;                            // what it had stored when all had arrived
    std::vector<char> statics, dynamic;
    Cell* cells = nullptr;  // of statics, then dynamic; with checks only
    char* dynamic_base();
};

struct Launch {
    Options options;
    size_t shared;
    void (*body)(void*);
    void* context;
    std::vector<Block*> blocks;
    unsigned long long random, alive, switches;
    int sum_order[2][17];  // of the terms of a product by tensor cores, of bf16 and of tf32
    std::vector<AsyncStore> async_stores;
    unsigned idle;      // switches since something changed
    unsigned to_start;  // clusters that wait for others to end
    std::string error;
};

extern Launch launch;
extern Fiber* current;

// The image of static shared memory of this thread of the process, and where the module lies.
extern char *statics, *module_low, *module_high;
extern size_t statics_size;

unsigned random_number();
bool on_a_stack(const void* address);
bool in_shared(const void* address, size_t bytes);

void wake(Fiber* fiber);
void wait(State state, Operation operation, unsigned mask);
void end_in_cluster();  // the running thread ends
void hand_over();       // what the block has done is visible in its cluster
void observe();         // an acquire reaches back to this moment
void check_end();       // of the running block

bool in_window(const void* address);
void* window_onto(Block& owner, const char* place_in_own);
void arrive_with_stores(Block& block);
void land_at_barrier(Cluster& cluster);
void land_all(Block& block);
void land_some(Block& block);
void close_windows_onto(Block& owner);

void land_relaxed_stores(Block& block);
void land_some_relaxed_stores(Block& block);
void land_relaxed_stores_to(const void* address, size_t bytes);  // by the running thread's block

void know_async_stores();     // those until now are known to have landed
void release_to_acquirers();  // who acquires after the next atomic store knows what was done before, for checks
void land_async_stores(bool all);

void catch_crashes();
void release_crashes();
void start_checks(unsigned blocks);
void end_checks();
Cell* shared_cells();
void mark_copy(const Copy& copy, bool pending);

}  // namespace emulator
