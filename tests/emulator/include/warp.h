// Operations of a warp.  They do not order memory, but for __syncwarp.
#pragma once

namespace emulator {

// compute(const In* const in[32], Out* const out[32], unsigned present) runs once for all lanes that meet.
template <class Out, class In, class F>
Out warp_operation(unsigned mask, const In& in, const char* name, int line, F compute) {
    Quiet quiet;
    Out out{};
    meet(mask, {name, line, false}, &in, &out,
         [](void* context, const void* const* in, void* const* out, unsigned present) {
             (*(F*)context)((const In* const*)in, (Out* const*)out, present);
         },
         &compute);
    return out;
}

// source(lane, first of the segment, argument, width) is the lane to read, or its own if outside.
template <class T, class F>
T shuffle(unsigned mask, T value, int argument, int width, const char* name, int line, F source) {
    struct In {
        T value;
        int argument, width;
    } in{value, argument, width};
    const auto exchange = [=](const In* const* in, T* const* out, unsigned present) {
        for (int lane = 0; lane < 32; lane++) {
            if (!(present >> lane & 1)) continue;
            const int width = in[lane]->width, first = lane & ~(width - 1);
            int from = source(lane, first, in[lane]->argument, width);
            if (from < first || from >= first + width) from = lane;
            if (present >> from & 1)
                *out[lane] = in[from]->value;
            else
                memset((void*)out[lane], poison(), sizeof(T));  // undefined in CUDA
        }
    };
    return warp_operation<T>(mask, in, name, line, exchange);
}

inline unsigned ballot(unsigned mask, bool predicate, const char* name, int line) {
    return warp_operation<unsigned>(
        mask, predicate, name, line, [](const bool* const* in, unsigned* const* out, unsigned present) {
            unsigned votes = 0;
            for (int lane = 0; lane < 32; lane++)
                if (present >> lane & 1 && *in[lane]) votes |= 1u << lane;
            for (int lane = 0; lane < 32; lane++)
                if (present >> lane & 1) *out[lane] = votes;
        });
}

template <class T, class F>
T reduce(unsigned mask, T value, const char* name, int line, F combine) {
    return warp_operation<T>(mask, value, name, line,
                             [=](const T* const* in, T* const* out, unsigned present) {
                                 T total = *in[__builtin_ctz(present)];
                                 for (int lane = __builtin_ctz(present) + 1; lane < 32; lane++)
                                     if (present >> lane & 1) total = combine(total, *in[lane]);
                                 for (int lane = 0; lane < 32; lane++)
                                     if (present >> lane & 1) *out[lane] = total;
                             });
}

}  // namespace emulator

#define EMULATOR_SHUFFLE(name, source)                                                                 \
    template <class T>                                                                                 \
    T name(unsigned mask, T value, int argument, int width = 32, int line = __builtin_LINE()) {        \
        return emulator::shuffle(mask, value, argument, width, #name, line,                            \
                                 [](int lane, int first, int argument, int width) { return source; }); \
    }
EMULATOR_SHUFFLE(__shfl_sync, first + (argument & (width - 1)))
EMULATOR_SHUFFLE(__shfl_xor_sync, lane ^ argument)
EMULATOR_SHUFFLE(__shfl_down_sync, lane + argument)
EMULATOR_SHUFFLE(__shfl_up_sync, lane - argument)
#undef EMULATOR_SHUFFLE

inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
    return emulator::ballot(mask, predicate, "__ballot_sync", line);
}
inline int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
    return emulator::ballot(mask, predicate, "__any_sync", line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
    return emulator::ballot(mask, !predicate, "__all_sync", line) == 0;
}

#define EMULATOR_REDUCE(name, type, result)                                     \
    inline type name(unsigned mask, type value, int line = __builtin_LINE()) {  \
        return emulator::reduce(mask, value, #name, line,                       \
                                [](type a, type b) -> type { return result; }); \
    }
EMULATOR_REDUCE(__reduce_add_sync, unsigned, a + b)
EMULATOR_REDUCE(__reduce_add_sync, int, a + b)
EMULATOR_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
EMULATOR_REDUCE(__reduce_min_sync, int, a < b ? a : b)
EMULATOR_REDUCE(__reduce_max_sync, unsigned, a > b ? a : b)
EMULATOR_REDUCE(__reduce_max_sync, int, a > b ? a : b)
EMULATOR_REDUCE(__reduce_and_sync, unsigned, a & b)
EMULATOR_REDUCE(__reduce_or_sync, unsigned, a | b)
EMULATOR_REDUCE(__reduce_xor_sync, unsigned, a ^ b)
#undef EMULATOR_REDUCE

template <class T>
unsigned __match_any_sync(unsigned mask, T value, int line = __builtin_LINE()) {
    const auto match = [](const T* const* in, unsigned* const* out, unsigned present) {
        for (int lane = 0; lane < 32; lane++) {
            if (!(present >> lane & 1)) continue;
            unsigned equal = 0;
            for (int other = 0; other < 32; other++)
                if (present >> other & 1 && *in[other] == *in[lane]) equal |= 1u << other;
            *out[lane] = equal;
        }
    };
    return emulator::warp_operation<unsigned>(mask, value, "__match_any_sync", line, match);
}

inline void __syncwarp(unsigned mask = ~0u, int line = __builtin_LINE()) {
    emulator::meet(mask, {"__syncwarp", line, true}, nullptr, nullptr,
                   [](void*, const void* const*, void* const*, unsigned) {}, nullptr);
}
