# What a panic says: the reason, and a line for each thread with what it wants and holds.

from finegrain.machine.thread cimport machine, thread

# Write it into text.  td: the thread that panicked, or NULL.
cdef void panic_text(machine* m, thread* td, const char* why, char* text, size_t size) noexcept nogil
