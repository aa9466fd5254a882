# Pipes.
#
# The mutex guards the pair's state only briefly; whoever copies bytes has the flag PIPE_LOCKFL instead, because the
# copy may fault: on the user's side, and on the kernel's, where the first byte on each page of a buffer finds nothing
# mapped.  A pipe that is always emptied soon stays on its first page: an empty buffer is used from its beginning again.
#
# The buffer grows, up to 64 KB, when a write does not fit.  That is also what a pipe holds on Linux, where recordings
# come from: a program that filled a pipe there without waiting for a reader does not wait here.
#
# Left out: writes of 8 KB and more go through the buffer like all others, where FreeBSD holds the writer's own pages
# for the reader (pipe_direct_write()); the small buffer of the reverse direction, which FreeBSD gained later (M);
# select and poll.

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from finegrain.kernel.locks cimport (
    lock_name, lock_site, msleep, mtx_assert_owned, mtx_init, mtx_lock, mtx_unlock, wakeup)
from finegrain.kernel.types cimport PAGE_SIZE, VM_PROT_READ, VM_PROT_WRITE, vm_offset_t
from finegrain.kernel.vfs.types cimport vfs_of, vfs_state
from finegrain.kernel.vm cimport kernel_access, pipe_map_find, pipe_map_remove
from finegrain.machine.seam cimport (
    arena_alloc, atomic_fetchadd, charge, panic, raw_lock, raw_unlock, stopping, touch_read, touch_write, unlikely)

cdef uint16_t NAME_PIPE = lock_name(b"sleep mutex", b"pipe mutex")
cdef uint16_t SITE_READ = lock_site(b"pipe_read")
cdef uint16_t SITE_WRITE = lock_site(b"pipe_write")
cdef uint16_t SITE_CLOSE = lock_site(b"pipeclose")
cdef uint16_t SITE_WAKE = lock_site(b"pipe_wake")

cdef enum:
    PIPE_WANTR = 1                      # pipe_state: a reader sleeps
    PIPE_WANTW = 2                      # a writer sleeps
    PIPE_LOCKFL = 4                     # somebody copies
    PIPE_NOREADER = 8                   # PIPE_EOF of either end
    PIPE_NOWRITER = 16
    MINPIPESIZE = 5461                  # PIPE_SIZE / 3: writers are woken below
    # Work in units of cost.op: our estimates [A] of what the calls cost on an idle machine, locks and map left out.
    OPS_PIPE = 3000                     # about 1 us: the pair, two files, two descriptors
    OPS_IO = 450                        # about 150 ns: descriptor, checks, timestamps
    OPS_COPY = 60                       # uiomove() of one piece
    OPS_CLOSE = 600                     # about 200 ns: knotes, select, the file


# Locks in: the pipe mutex of pp.  Locks out: the same.  May block: never.  Stands for: FreeBSD PIPE_LOCK_ASSERT().
cdef inline void PIPE_LOCK_ASSERT(thread* td, pipepair* pp) noexcept nogil:
    mtx_assert_owned(td, &pp.pp_mtx, b"the pipe is not locked")


# --- the buffer

# Give the buffer back.
#
# Locks in:   none; nobody else uses the buffer.
# Locks out:  none.
# May block:  as pipe_map_remove(): sleeps.
# Stands for: FreeBSD pipe_free_kmem().
cdef void pipe_free_kmem(thread* td, pipepair* pp) noexcept nogil:
    if pp.buffer == 0:
        return
    atomic_fetchadd(td, &vfs_of(td).amountpipekva, -<uint64_t>pp.size)
    pipe_map_remove(td, pp.buffer, pp.buffer + pp.size)
    pp.buffer = 0


# Move bytes between a user's memory and the buffer, or between buffers: from one page to the next.
#
# Locks in:   none that may not be held across a sleep.
# Locks out:  the same.
# May block:  as kernel_access(): sleeps.
# Stands for: FreeBSD uiomove().  What it copies to or from was faulted in before.
cdef void move(thread* td, vm_offset_t va, uint32_t size, int prot) noexcept nogil:
    cdef uint32_t piece
    while size > 0:
        piece = PAGE_SIZE - <uint32_t>(va & (PAGE_SIZE - 1))
        if piece > size:
            piece = size
        kernel_access(td, va, prot)
        charge(td, td.machine.cost.op, OPS_COPY)
        charge(td, td.machine.cost.copy_4k * piece // PAGE_SIZE, 1)
        va += piece
        size -= piece


# `size` bytes of the buffer from `at` on, which may go on at its beginning.
#
# Locks in:   none that may not be held across a sleep; the flag PIPE_LOCKFL.
# Locks out:  the same.
# May block:  as kernel_access(): sleeps.
# Stands for: the first and second segment of FreeBSD pipe_write() and pipespace_new().
cdef void move_around(thread* td, pipepair* pp, uint32_t at, uint32_t size, int prot) noexcept nogil:
    cdef uint32_t first = pp.size - at
    if first >= size:
        move(td, pp.buffer + at, size, prot)
        return
    move(td, pp.buffer + at, first, prot)
    move(td, pp.buffer, size - first, prot)


# Get a buffer of that size, with what is in the one that there is.
#
# Locks in:   none; nobody else uses the buffer: the pair is new, or PIPE_LOCKFL is this thread's.
# Locks out:  none.
# May block:  as pipe_map_find(), kernel_access() and pipe_map_remove(): sleeps.
# Stands for: FreeBSD pipespace_new().  Where that fails for want of addresses, we stop.
cdef void pipespace_new(thread* td, pipepair* pp, uint32_t size) noexcept nogil:
    cdef vfs_state* st = vfs_of(td)
    cdef vm_offset_t buffer = pipe_map_find(td, size)
    if unlikely(buffer == 0):
        panic(td, b"pipe_map is full: give the machine more memory, or run fewer builders")
    if pp.cnt > 0:
        move_around(td, pp, pp.out, pp.cnt, VM_PROT_READ)
        move(td, buffer, pp.cnt, VM_PROT_WRITE)
    pipe_free_kmem(td, pp)
    pp.buffer = buffer
    pp.size = size
    pp.in_ = pp.cnt
    pp.out = 0
    atomic_fetchadd(td, &st.amountpipekva, size)


# --- the flag

# Keep everybody else from the buffer.
#
# Locks in:   the pipe mutex of pp.
# Locks out:  the same, dropped meanwhile.
# May block:  sleeps while another thread has the flag; on the mutex.
# Stands for: FreeBSD pipelock().
cdef void pipelock(thread* td, pipepair* pp, uint16_t site) noexcept nogil:
    PIPE_LOCK_ASSERT(td, pp)
    touch_write(td, &pp.pipe_state)
    while pp.pipe_state & PIPE_LOCKFL:
        pp.pipe_waiters += 1
        msleep(td, &pp.pipe_waiters, &pp.pp_mtx, site)
        pp.pipe_waiters -= 1
    pp.pipe_state |= PIPE_LOCKFL


# ... and no longer.
#
# Locks in:   the pipe mutex of pp.
# Locks out:  the same.
# May block:  never; spins on the chain.
# Stands for: FreeBSD pipeunlock(), which wakes one of those who wait.
cdef void pipeunlock(thread* td, pipepair* pp) noexcept nogil:
    PIPE_LOCK_ASSERT(td, pp)
    pp.pipe_state &= ~<uint8_t>PIPE_LOCKFL
    if pp.pipe_waiters > 0:
        wakeup(td, &pp.pipe_waiters)


# Wake who sleeps for this reason.
#
# Locks in:   the pipe mutex of pp.
# Locks out:  the same.
# May block:  never; spins on the chain.
# Stands for: the wakeup() calls of FreeBSD sys_pipe.c: readers and writers sleep on the same address.
cdef void pipe_wakeup(thread* td, pipepair* pp, uint8_t reasons) noexcept nogil:
    PIPE_LOCK_ASSERT(td, pp)
    if pp.pipe_state & reasons:
        pp.pipe_state &= ~reasons
        wakeup(td, pp)


# Sleep until there is something to read, or room to write.
#
# Locks in:   the pipe mutex of pp, and the flag.
# Locks out:  the same, dropped meanwhile; the flag too when the answer is True.
# May block:  sleeps until woken; on the mutex.
# Returns:    False: the run is to stop.
# Stands for: the msleep() "piperd" and "pipewr" of FreeBSD pipe_read() and pipe_write().
cdef bint pipe_sleep(thread* td, pipepair* pp, uint8_t reason, uint16_t site) noexcept nogil:
    PIPE_LOCK_ASSERT(td, pp)
    pipeunlock(td, pp)
    if unlikely(stopping(td.machine)):
        return False
    pp.pipe_state |= reason
    msleep(td, pp, &pp.pp_mtx, site)
    pipelock(td, pp, site)
    return True


# --- the calls

# Make a pipe.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as pipe_map_find(): sleeps.
# Returns:    the pipe, with one reference to each end.
# Stands for: FreeBSD kern_pipe(), pipe_paircreate(), pipe_create().
cdef pipepair* kern_pipe(thread* td) noexcept nogil:
    cdef vfs_state* st = vfs_of(td)
    cdef pipepair* pp
    charge(td, td.machine.cost.op, OPS_PIPE)
    raw_lock(td, &st.lock)
    pp = st.free
    if pp != NULL:
        st.free = pp.next
    st.pipes += 1
    st.made += 1
    raw_unlock(td, &st.lock)
    if pp == NULL:
        pp = <pipepair*>arena_alloc(td.machine, sizeof(pipepair))
        mtx_init(&pp.pp_mtx, NAME_PIPE, 0)
    pp.pipe_state = 0
    pp.cnt = 0
    pp.f_count[PIPE_READ_END] = 1
    pp.f_count[PIPE_WRITE_END] = 1
    pipespace_new(td, pp, PIPE_SIZE if st.amountpipekva <= st.maxpipekva // 2 else SMALL_PIPE_SIZE)
    return pp


# Read.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the pipe mutex; sleeps for the flag, for a writer, and as kernel_access().
# Returns:    how many bytes; 0: nobody can write any more, or the run is to stop.
# Stands for: FreeBSD pipe_read().
cdef uint32_t pipe_read(thread* td, pipepair* pp, uint32_t size) noexcept nogil:
    cdef uint32_t done = 0
    cdef uint32_t piece
    charge(td, td.machine.cost.op, OPS_IO)
    mtx_lock(td, &pp.pp_mtx, SITE_READ)
    pipelock(td, pp, SITE_READ)
    while done < size:
        touch_read(td, &pp.cnt)
        if pp.cnt > 0:
            piece = pp.size - pp.out
            if piece > pp.cnt:
                piece = pp.cnt
            if piece > size - done:
                piece = size - done
            mtx_unlock(td, &pp.pp_mtx)
            move(td, pp.buffer + pp.out, piece, VM_PROT_READ)
            mtx_lock(td, &pp.pp_mtx, SITE_READ)
            touch_write(td, &pp.cnt)
            pp.out = (pp.out + piece) % pp.size
            pp.cnt -= piece
            if pp.cnt == 0:
                pp.in_ = 0
                pp.out = 0
            done += piece
            continue
        if pp.pipe_state & PIPE_NOWRITER:
            break
        pipe_wakeup(td, pp, PIPE_WANTW)
        if done > 0:
            break
        if not pipe_sleep(td, pp, PIPE_WANTR, SITE_READ):
            mtx_unlock(td, &pp.pp_mtx)
            return 0
    pipeunlock(td, pp)
    if pp.cnt < MINPIPESIZE:
        pipe_wakeup(td, pp, PIPE_WANTW)
    vfs_of(td).reads += 1
    mtx_unlock(td, &pp.pp_mtx)
    return done


# The size that a buffer should have for a write.
#
# Locks in: the pipe mutex of pp, and the flag.  Locks out: the same.  May block: never.
# Stands for: the choice of a larger size in FreeBSD pipe_write().
cdef inline uint32_t desired_size(thread* td, pipepair* pp, uint32_t size) noexcept nogil:
    cdef uint32_t desired = pp.size
    PIPE_LOCK_ASSERT(td, pp)
    while desired < pp.cnt + size and desired < BIG_PIPE_SIZE and (
            vfs_of(td).amountpipekva <= vfs_of(td).maxpipekva // 2):
        desired *= 2
    return desired


# Write.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the pipe mutex; sleeps for the flag, for a reader, as kernel_access(), and as pipespace_new().
# Returns:    False: nobody can read it, or the run is to stop.
# Stands for: FreeBSD pipe_write(), without pipe_direct_write().
cdef bint pipe_write(thread* td, pipepair* pp, uint32_t size) noexcept nogil:
    cdef uint32_t left = size
    cdef uint32_t space
    cdef uint32_t desired
    charge(td, td.machine.cost.op, OPS_IO)
    mtx_lock(td, &pp.pp_mtx, SITE_WRITE)
    pipelock(td, pp, SITE_WRITE)
    if not pp.pipe_state & PIPE_NOREADER:
        desired = desired_size(td, pp, size)
        if desired != pp.size:
            mtx_unlock(td, &pp.pp_mtx)
            pipespace_new(td, pp, desired)
            vfs_of(td).grown += 1
            mtx_lock(td, &pp.pp_mtx, SITE_WRITE)
    while left > 0 and not pp.pipe_state & PIPE_NOREADER:
        touch_read(td, &pp.cnt)
        space = pp.size - pp.cnt
        if space < left and size <= PIPE_BUF:
            space = 0
        if space > 0:
            if space > left:
                space = left
            mtx_unlock(td, &pp.pp_mtx)
            move_around(td, pp, pp.in_, space, VM_PROT_WRITE)
            mtx_lock(td, &pp.pp_mtx, SITE_WRITE)
            touch_write(td, &pp.cnt)
            pp.in_ = (pp.in_ + space) % pp.size
            pp.cnt += space
            left -= space
            continue
        pipe_wakeup(td, pp, PIPE_WANTR)
        if not pipe_sleep(td, pp, PIPE_WANTW, SITE_WRITE):
            mtx_unlock(td, &pp.pp_mtx)
            return False
    pipeunlock(td, pp)
    if pp.cnt > 0:
        pipe_wakeup(td, pp, PIPE_WANTR)
    vfs_of(td).writes += 1
    vfs_of(td).bytes += size - left
    mtx_unlock(td, &pp.pp_mtx)
    return left == 0


# Let go of an end.
#
# Locks in:   none.
# Locks out:  none.
# May block:  if it is the last reference: on the pipe mutex; sleeps for the flag; as pipe_map_remove(): sleeps.
# Stands for: FreeBSD fdrop(), pipe_close(), pipeclose().
cdef void pipe_close(thread* td, pipepair* pp, int end) noexcept nogil:
    cdef vfs_state* st = vfs_of(td)
    cdef bint last
    if atomic_fetchadd(td, &pp.f_count[end], ~<uint64_t>0) != 1:
        return
    charge(td, td.machine.cost.op, OPS_CLOSE)
    mtx_lock(td, &pp.pp_mtx, SITE_CLOSE)
    pipelock(td, pp, SITE_CLOSE)
    pp.pipe_state |= PIPE_NOREADER if end == PIPE_READ_END else PIPE_NOWRITER
    pipe_wakeup(td, pp, PIPE_WANTR | PIPE_WANTW)
    if end == PIPE_READ_END:            # the buffer is the read end's
        mtx_unlock(td, &pp.pp_mtx)
        pipe_free_kmem(td, pp)
        mtx_lock(td, &pp.pp_mtx, SITE_CLOSE)
        pp.cnt = 0
    pipeunlock(td, pp)
    last = pp.pipe_state & (PIPE_NOREADER | PIPE_NOWRITER) == PIPE_NOREADER | PIPE_NOWRITER
    mtx_unlock(td, &pp.pp_mtx)
    if not last:
        return
    raw_lock(td, &st.lock)
    pp.next = st.free
    st.free = pp
    st.pipes -= 1
    raw_unlock(td, &st.lock)


# Have those who sleep on the pipe look again: the run is to stop.
#
# Locks in:   none.
# Locks out:  none.
# May block:  on the pipe mutex.
# Stands for: the signal that ends a sleeping program.
cdef void pipe_wake(thread* td, pipepair* pp) noexcept nogil:
    mtx_lock(td, &pp.pp_mtx, SITE_WAKE)
    pipe_wakeup(td, pp, PIPE_WANTR | PIPE_WANTW)
    mtx_unlock(td, &pp.pp_mtx)
