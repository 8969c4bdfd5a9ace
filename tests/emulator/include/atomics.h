// Atomics, on global and shared memory, for the types that CUDA has them for.  They are relaxed: only with a fence
// before it does one release what was written, only with one after it does it acquire what it saw released.
// std::decay_t keeps the value out of the deduction of T: atomicAdd(unsigned*, 1).
#pragma once

namespace emulator {

template <class T, class... Types>
constexpr bool one_of = (std::is_same_v<T, Types> || ...);

template <class T, class Update>
EMULATOR_UNCHECKED T atomic(T* address, int line, Update update) {
    perhaps_switch();
    check(address, sizeof(T), Access::atomic, line);
    Quiet quiet;
    const T old = *(const T*)settle(address, sizeof(T)), now = update(old);
    if (memcmp(&old, &now, sizeof(T))) progress();
    put(address, now);
    return old;
}

}  // namespace emulator

#define EMULATOR_ATOMIC(name, result, ...)                                                             \
    template <class T>                                                                                 \
    T name(T* address, std::decay_t<T> value, int line = __builtin_LINE()) {                           \
        static_assert(emulator::one_of<T, __VA_ARGS__>, "CUDA has no " #name " for this type");        \
        return emulator::atomic(address, line, [&](T old) EMULATOR_UNCHECKED -> T { return result; }); \
    }
EMULATOR_ATOMIC(atomicAdd, old + value, int, unsigned, unsigned long long, float, double)
EMULATOR_ATOMIC(atomicSub, old - value, int, unsigned)
EMULATOR_ATOMIC(atomicExch, value, int, unsigned, unsigned long long, float)
EMULATOR_ATOMIC(atomicMin, value < old ? value : old, int, unsigned, long long, unsigned long long)
EMULATOR_ATOMIC(atomicMax, old < value ? value : old, int, unsigned, long long, unsigned long long)
EMULATOR_ATOMIC(atomicAnd, old & value, int, unsigned, long long, unsigned long long)
EMULATOR_ATOMIC(atomicOr, old | value, int, unsigned, long long, unsigned long long)
EMULATOR_ATOMIC(atomicXor, old ^ value, int, unsigned, long long, unsigned long long)
#undef EMULATOR_ATOMIC

template <class T>
T atomicCAS(T* address, std::decay_t<T> expected, std::decay_t<T> value, int line = __builtin_LINE()) {
    static_assert(emulator::one_of<T, int, unsigned, unsigned long long, unsigned short>);
    return emulator::atomic(address, line,
                            [&](T old) EMULATOR_UNCHECKED { return old == expected ? value : old; });
}
