// Signals of a kernel become errors of the launch, so that the tests go on.
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>

#include "state.h"

namespace emulator {

namespace {

constexpr int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
struct sigaction before[4];
stack_t stack_before;
char stack[64 << 10];

// On a stack of its own, as a thread's may have overflowed.  It ends in another one and never returns.
void handle(int signal, siginfo_t*, void* context) {
    const char* code = (const char*)((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
    const char* cause = signal == SIGFPE ? "division by zero" : "crash: misaligned or out of bounds";
    char text[120];
    snprintf(text, sizeof text, "%s at 0x%zx", cause, size_t(code + 1 - module_low));
    fail(text, 0);
}

}  // namespace

void catch_crashes() {
    const stack_t own{stack, 0, sizeof stack};
    sigaltstack(&own, &stack_before);
    struct sigaction action = {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int i = 0; i < 4; i++) sigaction(signals[i], &action, &before[i]);
}

void release_crashes() {
    for (int i = 0; i < 4; i++) sigaction(signals[i], &before[i], nullptr);
    sigaltstack(&stack_before, nullptr);
}

}  // namespace emulator
