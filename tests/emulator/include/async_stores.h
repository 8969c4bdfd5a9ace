// Stores to the shared memory of blocks of a cluster that a barrier in memory counts: twins of st.async and mbarrier.
#pragma once

namespace emulator {

// A barrier in dynamic shared memory whose phases end when `count` threads have arrived and all the bytes that they
// expect have landed.
void phase_init(unsigned long long* barrier, unsigned count, int line = __builtin_LINE());
void phase_expect(unsigned long long* barrier, unsigned bytes, int line = __builtin_LINE());  // one arrival
void phase_wait(unsigned long long* barrier, unsigned parity, int line = __builtin_LINE());

// Of so many bytes, to the place of `own`, counted by the barrier, both in dynamic shared memory of another block, or
// of this one, where these are the places in this block's.
void store_async(void* own, unsigned rank, const void* value, size_t bytes, unsigned long long* barrier,
                 int line = __builtin_LINE());

}  // namespace emulator
