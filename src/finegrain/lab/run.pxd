# The runner: operations on a kernel, by name, on simulated threads.
#
# A lab has a table of operations.  A row is a name, the arguments with what each must be, and a C function; adding an
# operation is adding a row.  Python checks what can be known beforehand (names, kinds, ranges); what depends on the
# kernel's state when the operation's turn comes (is the page free? is the lock held?) the operation asks itself, in
# its thread, and refuses: the thread ends there, in order, and Python is told why.
#
# Threads of one lab run at once.  What must not vanish under an operation is in `slots`: a count of the operations
# that use it now.  An argument marked `!` in a row is wanted alone: refused while others use it, and others are
# refused meanwhile.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from finegrain.machine.simulated.simulated cimport SimulatedMachine
from finegrain.machine.thread cimport ps_t, thread

cdef enum:
    ARGUMENTS = 10                      # of an operation at most
    SLOTS = 3                           # sorts of things that operations use
    MAX_JOBS = 65536                    # threads of a lab that are kept
    ALONE = 0xffffffff
    MAX_INDEX = 1 << 24                 # pages of an object at most: 64 GiB
    PAGE = 4096

cdef struct lab_world
cdef struct lab_job

# An operation to be run.
cdef struct lab_call:
    int64_t (*function)(thread* td, lab_call* c) noexcept nogil
    lab_world* world
    int64_t a[ARGUMENTS]
    int64_t result
    const char* refused                 # why it was not done; NULL: it was, or its turn has not come
    ps_t begin
    ps_t end
    int64_t order                       # counts operations as they end, from 1; 0: it has not
    int64_t skip                        # how many of the following to leave out
    uint8_t used                        # arguments that name something in a slot: number, slot, alone
    uint8_t use_argument[3]
    uint8_t use_slot[3]
    uint8_t use_alone[3]

cdef struct lab_job:                    # a thread's
    lab_world* world
    thread* td                          # once it runs
    lab_call* calls
    int64_t count
    int64_t done                        # how many were looked at: the index of the refused one, if one was
    const char* refused                 # why the thread ended before its last operation
    bint started
    bint ended

# What a lab keeps in the arena begins with this.
cdef struct lab_world:
    bint checked                        # operations ask before they act; else (tests only) the kernel does, or nobody
    int64_t ended                       # operations
    int64_t calls                       # of all threads that are kept
    ps_t asked                          # time that operations were to take, of all threads ever
    void* extra                         # for what tests add
    void (*leave)(thread* td, lab_job* job) noexcept nogil     # may be NULL: tidy up behind a thread
    uint32_t* slots[SLOTS]              # uses by number
    uint8_t slot_shift[SLOTS]           # from an argument to that number
    lab_job* jobs[MAX_JOBS]
    int64_t njobs


# Should the operation stop here?  Yes when it must not be done for the reason given; the caller returns at once.
cdef inline bint lacks(lab_call* c, bint condition, const char* why) noexcept nogil:
    if condition or not c.world.checked:
        return False
    c.refused = why
    return True


# A row of the table.
cdef class Operation:
    cdef readonly str name
    cdef readonly str signature
    cdef readonly str meaning
    cdef list arguments                 # (name, kind, default or None)
    cdef list uses                      # (argument, slot, alone)
    cdef int required
    cdef int64_t (*function)(thread* td, lab_call* c) noexcept nogil


cdef class Operations:
    cdef dict rows
    cdef dict slots                     # kind: slot
    # "place:kind=default ...": see Operations.add in the .pyx
    cdef int add(self, str name, str signature, int64_t (*function)(thread*, lab_call*) noexcept nogil,
                 str meaning) except -1
    # The same rows, to add others to.
    cdef Operations extended(self)


cdef class Lab:
    cdef readonly SimulatedMachine machine
    cdef lab_world* world
    # --- for the labs
    cdef Operations table(self)
    # Make the world: `size` bytes of the arena that begin with a lab_world.
    cdef int make_world(self, uint64_t size) except -1
    cdef int make_slot(self, int slot, uint64_t count, int shift) except -1
    # The value of an argument of this kind: an integer, or what is raised.
    cdef object value(self, str kind, str what, object given)
    # Raise unless the kernel may be looked at.
    cdef int ready(self) except -1
    cdef lab_job* job_of(self, object number) except NULL
    # A thread that is not started yet.
    cdef int64_t put(self, object operations) except -1
    cdef int launch(self, int64_t number) except -1
    cdef int drop(self, int64_t number) except -1
    cdef int raise_refusal(self, lab_job* j) except -1

# A thread's life: for who starts a job from another thread.
cdef void run_job(thread* td, void* argument) noexcept nogil

# Helpers of arguments: an integer from low to high, or TypeError or ValueError in the words of `meaning`.
cdef object whole(str what, object given, object low, object high, str meaning)
cdef str shown(object given)
# A machine that has no kernel, or ValueError.
cdef int fresh(SimulatedMachine machine) except -1
# Segments and a design, as Python gives them, checked: [(start, end, domain)], a Design.
cdef object checked_design(object design)
cdef tuple checked_config(SimulatedMachine machine, object segments, object design)
