# Descriptors: see descrip.pxd.

from libc.string cimport memcpy, memmove

from finegrain.kernel.vfs.files cimport fdrop, fhold
from finegrain.kernel.vfs.pipe cimport pipe_close, pipe_wake
from finegrain.kernel.vfs.vnode cimport vref, vrele
from finegrain.machine.seam cimport arena_alloc, arena_free, atomic_fetchadd, charge

cdef enum:
    FIRST_CAPACITY = 8
    OPS_FD = 15                         # units of cost.op: copy a descriptor, or find one [A]


# Make room for more descriptors.
#
# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD fdgrowtable().
cdef void fdgrow(thread* td, filedesc* fdp, uint32_t count) noexcept nogil:
    cdef uint32_t capacity = fdp.capacity if fdp.capacity != 0 else FIRST_CAPACITY
    cdef fd_end* ends
    while capacity < count:
        capacity *= 2
    if capacity == fdp.capacity:
        return
    ends = <fd_end*>arena_alloc(td.machine, capacity * sizeof(fd_end))
    if fdp.capacity != 0:
        memcpy(ends, fdp.ends, fdp.count * sizeof(fd_end))
        arena_free(td.machine, fdp.ends, fdp.capacity * sizeof(fd_end))
    fdp.ends = ends
    fdp.capacity = capacity


# Add a descriptor.
#
# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD finit(), falloc().
cdef fd_end* fdalloc(thread* td, filedesc* fdp, int32_t number, int32_t end) noexcept nogil:
    cdef fd_end* new
    fdgrow(td, fdp, fdp.count + 1)
    new = &fdp.ends[fdp.count]
    new.pipe = NULL
    new.file = NULL
    new.number = number
    new.end = end
    fdp.count += 1
    return new


# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD finit(), falloc().
cdef void fdinstall(thread* td, filedesc* fdp, pipepair* pp, int32_t number, int32_t end) noexcept nogil:
    fdalloc(td, fdp, number, end).pipe = pp


# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD finit(), falloc().
cdef void fdinstall_file(thread* td, filedesc* fdp, openfile* fp, int32_t number) noexcept nogil:
    fdalloc(td, fdp, number, FD_FILE).file = fp


# The index of a descriptor; the count when it is not there.
cdef inline uint32_t index_of(filedesc* fdp, int32_t number, int32_t end) noexcept nogil:
    cdef uint32_t i = 0
    while i < fdp.count and not (fdp.ends[i].number == number and fdp.ends[i].end == end):
        i += 1
    return i


cdef pipepair* fdlookup(filedesc* fdp, int32_t number, int32_t end) noexcept nogil:
    cdef uint32_t i = index_of(fdp, number, end)
    return fdp.ends[i].pipe if i < fdp.count else NULL


# The open file of a number; NULL.
cdef openfile* fdlookup_file(filedesc* fdp, int32_t number) noexcept nogil:
    cdef uint32_t i = index_of(fdp, number, FD_FILE)
    return fdp.ends[i].file if i < fdp.count else NULL


# Give up what a descriptor refers to.
#
# Locks in:   none.
# Locks out:  none.
# May block:  as pipe_close() and fdrop(): sleeps.
# Stands for: FreeBSD closef().
cdef void closef(thread* td, const fd_end* fd) noexcept nogil:
    charge(td, td.machine.cost.op, OPS_FD)
    if fd.end == FD_FILE:
        fdrop(td, fd.file)
    else:
        pipe_close(td, fd.pipe, fd.end)


# Locks in:   none.
# Locks out:  none.
# May block:  as closef(): sleeps.
# Stands for: FreeBSD kern_close().
cdef void fdclose(thread* td, filedesc* fdp, int32_t number, int32_t end) noexcept nogil:
    cdef uint32_t i = index_of(fdp, number, end)
    cdef fd_end fd
    if i == fdp.count:
        return
    fd = fdp.ends[i]
    fdp.count -= 1
    memmove(&fdp.ends[i], &fdp.ends[i + 1], (fdp.count - i) * sizeof(fd_end))
    closef(td, &fd)


# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD fdinit(), pwd_set().
cdef void fdinit(thread* td, filedesc* fdp, vnode* root, int32_t directory) noexcept nogil:
    vref(td, root)
    vref(td, root)
    fdp.dirs.root = root
    fdp.dirs.cwd = root
    fdp.directory = directory


# Locks in:   none.
# Locks out:  none.
# May block:  never.
# Stands for: FreeBSD fdcopy().
cdef void fdcopy(thread* td, filedesc* fdp, filedesc* child) noexcept nogil:
    cdef uint32_t i
    child.count = 0
    fdgrow(td, child, fdp.count)
    for i in range(fdp.count):
        if fdp.ends[i].end == FD_FILE:
            fhold(td, fdp.ends[i].file)
        else:
            atomic_fetchadd(td, &fdp.ends[i].pipe.f_count[fdp.ends[i].end], 1)
        child.ends[i] = fdp.ends[i]
    child.count = fdp.count
    if fdp.dirs.root != NULL:
        vref(td, fdp.dirs.root)
        vref(td, fdp.dirs.cwd)
    child.dirs = fdp.dirs
    child.directory = fdp.directory
    charge(td, td.machine.cost.op, OPS_FD * fdp.count)


# Locks in:   none.
# Locks out:  none.
# May block:  as closef(): sleeps.
# Stands for: the loop of FreeBSD fdescfree().
cdef void fdcloseall(thread* td, filedesc* fdp) noexcept nogil:
    cdef uint32_t i
    for i in range(fdp.count):
        closef(td, &fdp.ends[i])
    fdp.count = 0


# Locks in:   none.
# Locks out:  none.
# May block:  as closef() and vrele(): sleeps.
# Stands for: FreeBSD fdescfree().
cdef void fdescfree(thread* td, filedesc* fdp) noexcept nogil:
    fdcloseall(td, fdp)
    if fdp.dirs.root != NULL:
        vrele(td, fdp.dirs.cwd)
        vrele(td, fdp.dirs.root)
        fdp.dirs.root = NULL
        fdp.dirs.cwd = NULL


# Locks in:   none.
# Locks out:  none.
# May block:  on pipe mutexes.
# Stands for: nothing in FreeBSD: the run is to stop.
cdef void fdwake(thread* td, filedesc* fdp) noexcept nogil:
    cdef uint32_t i
    for i in range(fdp.count):
        if fdp.ends[i].end != FD_FILE:
            pipe_wake(td, fdp.ends[i].pipe)
