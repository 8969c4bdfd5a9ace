// Twins of cp.async: queues of copies, a thread's own, done when they are waited for and not before.
#pragma once

namespace emulator {

// 4, 8 or 16 bytes into shared memory, those beyond source_bytes zero.
void copy_async(void* shared, const void* global, int bytes, int source_bytes, int line = __builtin_LINE());
void copy_async_commit();
void copy_async_wait(int pending_groups);

}  // namespace emulator
