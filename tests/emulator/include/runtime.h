// What the headers for kernels call in the runtime (runtime/*.cpp), which is compiled once for all kernels.
#pragma once
#include <stddef.h>
#include <string.h>

namespace emulator {

struct Options {
    int order;  // of threads and blocks: 0 forward, 1 backward, 2 random
    int seed;
    int poison;  // the byte that fresh shared memory is filled with
    int cooperative;
    int flush;    // denormal floats to 0, as CuPy has NVRTC compile; doubles of the kernel as well
    int checked;  // whether the kernel was compiled to report its loads and stores
};

extern bool live;  // whether a kernel's own code runs, whose loads and stores are to be checked

struct Quiet {  // none of the scope's loads and stores is the kernel's
    bool before = live;
    Quiet() { live = false; }
    ~Quiet() { live = before; }
};

[[noreturn]] void fail(const char* what, int line);

// Scheduling points: one now and then, one always, that now and then, and what tells a spin that waits in
// vain from work.
void perhaps_switch();
void spin(int line);
void perhaps_spin(int line);
void progress();

enum class Vote { count, all, any };
int block_barrier(int line, int predicate, Vote vote);

// All lanes of the mask meet; compute runs once, with every present lane's input and output; then all go on.
using Compute = void (*)(void* context, const void* const* in, void* const* out, unsigned present);
struct Operation {
    const char* name;
    int line;
    bool orders_memory;
    bool operator==(const Operation& other) const { return line == other.line && !strcmp(name, other.name); }
};
void meet(unsigned mask, Operation operation, const void* in, void* out, Compute compute, void* context);
unsigned thread_rank();  // of the running thread in its block
int poison();

void* dynamic_shared();

enum class Access { load, store, atomic_load, atomic, read_only_load, async_store };
void check(const void* address, size_t bytes, Access access, int line);
void release();  // what was done before is visible to who sees the thread's next atomic store and acquires
void acquire();  // what was released before the thread's last atomic load

// The memory that an address leads to, up to date with what the block has stored there, and a store to it.
void* settle(const void* address, size_t bytes);
template <class T>
EMULATOR_UNCHECKED void put(T* address, T value) {
    T* const place = (T*)settle(address, sizeof(T));
    *place = value;
    if (place != address) settle(address, sizeof(T));
}

void put_relaxed(void* address, const void* value, size_t bytes);  // 16 at most
void get_relaxed(const void* address, void* value, size_t bytes);

int run(dim3 grid, dim3 block, dim3 cluster, size_t shared, Options options, void (*body)(void*),
        void* context);

}  // namespace emulator
