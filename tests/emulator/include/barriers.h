// Barriers of a block, fences and the pieces of a barrier of the grid.
#pragma once

inline void __syncthreads(int line = __builtin_LINE()) {
    emulator::block_barrier(line, 0, emulator::Vote::count);
}
inline int __syncthreads_count(int predicate, int line = __builtin_LINE()) {
    return emulator::block_barrier(line, predicate, emulator::Vote::count);
}
inline int __syncthreads_and(int predicate, int line = __builtin_LINE()) {
    return emulator::block_barrier(line, predicate, emulator::Vote::all);
}
inline int __syncthreads_or(int predicate, int line = __builtin_LINE()) {
    return emulator::block_barrier(line, predicate, emulator::Vote::any);
}

inline void __threadfence() {
    emulator::release();
    emulator::acquire();
    emulator::perhaps_switch();
}
inline void __threadfence_system() { __threadfence(); }
inline void __threadfence_block() { emulator::perhaps_switch(); }
inline void __nanosleep(unsigned, int line = __builtin_LINE()) { emulator::spin(line); }

namespace emulator {

// Twins of ld.acquire.gpu, st.release.gpu and red.release.gpu.add.
EMULATOR_UNCHECKED inline unsigned load_acquire(const unsigned* address, int line = __builtin_LINE()) {
    spin(line);
    check(address, sizeof *address, Access::atomic_load, line);
    acquire();
    return *(const unsigned*)settle(address, sizeof *address);
}
EMULATOR_UNCHECKED inline void store_release(unsigned* address, unsigned value, int line = __builtin_LINE()) {
    perhaps_switch();
    release();
    check(address, sizeof *address, Access::atomic, line);
    progress();
    put(address, value);
}
EMULATOR_UNCHECKED inline void add_release(unsigned* address, unsigned value, int line = __builtin_LINE()) {
    perhaps_switch();
    release();
    check(address, sizeof *address, Access::atomic, line);
    progress();
    put(address, *(const unsigned*)settle(address, sizeof *address) + value);
}

// Twins of ld.relaxed.gpu and st.relaxed.gpu, of 64 or 128 bits: whole, but what was written before need not be seen.
// Most words that are polled are there, so that a load gives up its turn only now and then.
template <class Word>
EMULATOR_UNCHECKED Word load_relaxed(const Word* address, int line = __builtin_LINE()) {
    perhaps_spin(line);
    check(address, sizeof(Word), Access::atomic_load, line);
    Word value;
    get_relaxed(address, &value, sizeof(Word));
    return value;
}
template <class Word, class Value>
EMULATOR_UNCHECKED void store_relaxed(Word* address, const Value& value, int line = __builtin_LINE()) {
    const Word word = value;
    perhaps_switch();
    check(address, sizeof(Word), Access::atomic, line);
    progress();
    put_relaxed(address, &word, sizeof(Word));
}

}  // namespace emulator
