# The structs of physical memory, shared by page, free (free blocks and per-CPU caches), reserv (2 MB reservations),
# pagequeue (page queues) and objpages (the pages of an object).
#
# Everything here is zeroed arena memory, and a zeroed struct is a right one: a page array of 14 GB for 512 GB
# of memory costs real memory only where pages have been handed out.  Hence vm_page.order counts from 1 (0:
# heads no free block), a page struct gets its address when its page is first handed out or heads a block, and
# blocks that nobody has touched yet are not on the free lists at all but are a range of addresses (`virgin`
# below).
#
# Keys: c constant; f free page queue mutex of the domain; p private to a CPU (used in a critical section); r
# reservation's mutex; d reservation domain mutex; b "resv obj lock" of the object; q page queue mutex; a atomic.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport mtx
from finegrain.kernel.types cimport vm_object, vm_paddr_t, vm_page, vm_pindex_t
from finegrain.machine.thread cimport machine, thread

cdef enum:
    MAXMEMDOM = 16                      # as many as the simulated machine has sockets at most
    VM_PHYSSEG_MAX = 63
    VM_NFREEORDER = 13                  # blocks of 2**0 to 2**12 pages
    VM_NFREEPOOL = 2
    VM_FREEPOOL_DEFAULT = 0             # pages of objects
    VM_FREEPOOL_DIRECT = 1              # pages used through the direct map: page tables, pv chunks
    VM_NFREELIST = 3
    VM_FREELIST_DEFAULT = 0
    VM_FREELIST_DMA32 = 1               # below 4 GB, kept for last on machines that have much above it
    VM_FREELIST_LOWMEM = 2              # below 16 MB
    PGCACHE_BUCKET = 253                # UMA's largest bucket: 256 words less a header of 3
    VM_LEVEL_0_ORDER = 9                # a reservation is 2**9 pages
    VM_LEVEL_0_NPAGES = 512
    NPOPMAP = 8                         # words of a population map
    PQ_COUNT = 2                        # inactive, active
    VM_BATCHQUEUE_SIZE = 31
    PA_LOCK_COUNT = 256
    VM_RESERV_OBJ_LOCK_COUNT = 256      # MAXCPU

cdef extern from *:
    """
    #define VPRC_OBJREF 0x80000000u
    """
    uint32_t VPRC_OBJREF                # vm_page.ref_count: the object's reference; the rest are wirings

cdef enum:                              # vm_page.aflags beyond PGA_WRITEABLE and PGA_REFERENCED
    PGA_ENQUEUED = 0x08                 # q: is on its page queue
    PGA_DEQUEUE = 0x10                  # a batch holds the page, to be taken off its queue
    PGA_REQUEUE = 0x20                  # a batch holds the page, to be put at the tail of its queue
    PGA_QUEUE_OP_MASK = 0x30
    PGA_QUEUE_STATE_MASK = 0x38

cdef struct vm_phys_seg:                # all constant
    vm_paddr_t start
    vm_paddr_t end
    vm_page* first_page
    uint32_t domain
    uint32_t freelist                   # VM_FREELIST_*

cdef struct mtx_padalign:               # a mutex alone on its 128 bytes (CACHE_LINE_SIZE of amd64)
    mtx lock
    uint64_t pad[12]

cdef struct phys_state

cdef struct vm_freelist:                # blocks of one order, linked through listq
    vm_page* first
    vm_page* last
    int64_t count

cdef struct vm_batchqueue:              # a CPU's pending operations on one page queue
    uint64_t count
    vm_page* pages[VM_BATCHQUEUE_SIZE]

cdef struct vm_pagequeue:
    mtx_padalign mutex                  # "vm active pagequeue", "vm inactive pagequeue"
    vm_page* first                      # q: linked through plinks
    vm_page* last                       # q
    int64_t count                       # q
    uint64_t pad[13]

cdef struct pgcache:                    # a CPU's free pages of one (domain, pool): a UMA cache of two buckets
    uint32_t nalloc                     # p
    uint32_t nfree                      # p
    vm_page** alloc                     # p: allocations pop here, frees push here first
    vm_page** free                      # p: frees go here when alloc is full

cdef struct vm_reserv:                  # 160 bytes; one for each 2 MB of address space
    mtx lock                            # "vm reserv"; initialised with `pages`
    vm_reserv* partpopq_next            # d
    vm_reserv* partpopq_prev            # d
    vm_reserv* objq_next                # b
    vm_reserv* objq_prev                # b
    vm_object* object                   # b, r: NULL: no reservation here
    vm_pindex_t pindex                  # b, r: of its first page in the object
    vm_page* pages                      # c: its first page; NULL until first used
    uint16_t popcnt                     # r: pages in use.  invariant: the number of bits set in popmap
    uint8_t domain                      # c
    uint8_t inpartpopq                  # r, d
    int32_t lasttick                    # r: when partpopq was last updated
    uint64_t popmap[NPOPMAP]            # r: a set bit is a page in use

cdef struct deferred_run:               # consecutive pages of an object, ascending or descending in memory
    vm_pindex_t first
    uint32_t pages
    int32_t step                        # 1 or -1
    vm_page* page                       # the first one's struct

cdef struct deferred_pages:             # vm_object.deferred points here; o: the object's rw lock guards it all
    vm_page* (*look_up)(vm_object* obj, vm_pindex_t pindex) noexcept nogil
    phys_state* phys
    uint64_t count
    uint64_t capacity
    deferred_run* runs                  # ascending by index

cdef struct vm_domain:
    mtx_padalign free_mtx               # "vm page free queue"
    mtx_padalign reserv_mtx             # "VM reserv domain"
    uint64_t free_count                 # a: free pages, those in per-CPU caches not among them; a line of its own
    uint64_t pad0[15]
    vm_pagequeue queues[PQ_COUNT]
    vm_freelist free_queues[VM_NFREELIST][VM_NFREEPOOL][VM_NFREEORDER]  # f
    vm_page* started[VM_NFREELIST]      # f: the rest of a block that single pages are taken from: see free.pyx
    int32_t started_pages[VM_NFREELIST]  # f
    uint32_t virgin_seg[VM_NFREELIST]   # f: the segment whose untouched blocks come next; VM_PHYSSEG_MAX: none
    vm_reserv* partpop_first            # d: partly populated reservations, least recently changed first
    vm_reserv* partpop_last             # d
    vm_page clock[2]                    # q: on the active queue: where the page daemon is, and the end of its round
    vm_page marker                      # q: and, while it scans, where the next batch begins
    int64_t npages                      # c
    int64_t reclaimed                   # r: reservations broken for want of memory
    uint64_t pad1[5]                    # the next one begins with a padded mutex too

cdef struct phys_state:                 # machine.phys points here
    uint32_t nsegs                      # c
    vm_phys_seg segs[VM_PHYSSEG_MAX]    # c, ascending
    vm_paddr_t last_pa                  # c: end of the last segment
    vm_page* page_array                 # c: indexed by pa >> PAGE_SHIFT, holes included; only touched parts are real
    machine* machine                    # c
    uint32_t ndomains                   # c
    uint32_t ncpus                      # c
    vm_domain* domains                  # c
    vm_paddr_t virgin[VM_PHYSSEG_MAX]   # f: largest blocks from here ...
    vm_paddr_t virgin_end[VM_PHYSSEG_MAX]  # c: ... to here have never been touched; they come first on their list
    pgcache* caches                     # p: [cpu][domain][pool]
    vm_batchqueue* batches              # p: [cpu][domain][queue]
    vm_reserv* reservs                  # c: indexed by pa >> PDRSHIFT
    uint64_t nreservs                   # c
    mtx_padalign* pa_locks              # "vm page", by superpage modulo PA_LOCK_COUNT
    mtx_padalign* resv_obj_locks        # "resv obj lock", by address of the object


cdef inline phys_state* phys_of(thread* td) noexcept nogil:
    return <phys_state*>td.machine.phys
