// A kernel called with pointers to its arguments, as cudaLaunchKernel is, and what those are to be.
#pragma once

namespace emulator {

// i4 for int, u8 for unsigned long long, f4 for float, s16 for a structure, v1 for void; then @ and the
// alignment; in front of it p for a pointer or c for a pointer to const.
template <class T>
void append_code(char*& text) {
    using Value = std::remove_cv_t<T>;
    if constexpr (std::is_pointer_v<Value>) {
        using Target = std::remove_pointer_t<Value>;
        *text++ = std::is_const_v<Target> ? 'c' : 'p';
        append_code<Target>(text);
    } else if constexpr (std::is_void_v<Value>) {
        text += sprintf(text, "v1@1");
    } else {
        const char kind = std::is_floating_point_v<Value>                             ? 'f'
                          : !(std::is_integral_v<Value> || std::is_enum_v<Value>)     ? 's'
                          : std::is_signed_v<Value>                                   ? 'i'
                                                                                      : 'u';
        text += sprintf(text, "%c%zu@%zu", kind, sizeof(Value), alignof(Value));
    }
}

template <class... Arguments>
const char* signature(void (*)(Arguments...)) {
    static char text[1 + 16 * sizeof...(Arguments)];
    char* end = text;
    ((append_code<Arguments>(end), *end++ = ','), ...);
    *end = 0;
    return text;
}

template <class... Arguments, size_t... index>
EMULATOR_UNCHECKED void call(void (*kernel)(Arguments...), void** arguments, std::index_sequence<index...>) {
    kernel(*(std::remove_cv_t<std::remove_reference_t<Arguments>>*)arguments[index]...);
}

template <class... Arguments>
int launch(void (*kernel)(Arguments...), const unsigned* shape, size_t shared, void** arguments,
           Options options) {
    struct Call {
        void (*kernel)(Arguments...);
        void** arguments;
    } all{kernel, arguments};
    return run({shape[0], shape[1], shape[2]}, {shape[3], shape[4], shape[5]},
               {shape[6], shape[7], shape[8]}, shared, options,
               [](void* context) EMULATOR_UNCHECKED {
                   Call* all = (Call*)context;
                   call(all->kernel, all->arguments, std::index_sequence_for<Arguments...>{});
               },
               &all);
}

}  // namespace emulator
