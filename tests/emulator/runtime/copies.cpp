// Asynchronous copies: kept in the thread's queue until it waits for them.
#include <string.h>

#include <algorithm>

#include "state.h"

namespace emulator {

void copy_async(void* shared, const void* global, int bytes, int source_bytes, int line) {
    Quiet quiet;
    if (bytes != 4 && bytes != 8 && bytes != 16) fail("cp.async of other than 4, 8 or 16 bytes", line);
    if (source_bytes < 0 || source_bytes > bytes) fail("cp.async: more bytes to read than to write", line);
    if (((uintptr_t)shared | (uintptr_t)global) % bytes) fail("cp.async: misaligned", line);
    if (!in_shared(shared, bytes)) fail("cp.async: not to shared memory", line);
    const Copy copy{(char*)shared, (const char*)global, bytes, source_bytes, line, current->groups};
    current->copies.push_back(copy);
    if (!launch.options.checked) return;
    if (source_bytes) check(global, source_bytes, Access::load, line);
    check(shared, bytes, Access::store, line);
    mark_copy(copy, true);
}

void copy_async_commit() { current->groups++; }

void copy_async_wait(int pending_groups) {
    Quiet quiet;
    std::vector<Copy>& copies = current->copies;
    auto done = copies.begin();
    for (; done != copies.end() && done->group + pending_groups < current->groups; ++done) {
        if (launch.options.checked) {
            mark_copy(*done, false);
            check(done->to, done->bytes, Access::store, done->line);
        }
        memcpy(done->to, done->from, done->source_bytes);
        memset(done->to + done->source_bytes, 0, done->bytes - done->source_bytes);
    }
    copies.erase(copies.begin(), done);
}

}  // namespace emulator
