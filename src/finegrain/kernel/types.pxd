# The structs that the modules of the kernel share.  Sizes and field order are FreeBSD/amd64's of late 2019 where
# the space or the cache lines matter (vm_page, md_page, pv_entry, pv_chunk); the tests assert them.

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport mtx, rwlock, sx
from finegrain.machine.thread cimport thread

ctypedef uint64_t vm_paddr_t
ctypedef uint64_t vm_offset_t           # a virtual address
ctypedef uint64_t vm_pindex_t           # a page's number in its object
ctypedef uint64_t pt_entry_t            # a PTE, PDE, PDPE or PML4E with x86-64 bits

cdef enum:
    PAGE_SHIFT = 12
    PAGE_SIZE = 4096
    PAGE_LINES = 64                     # cache lines of a page
    PDRSHIFT = 21
    NPTEPG = 512
    NPCPV = 168                         # pv entries in a chunk (_NPCPV)
    NPCM = 3                            # words of pc_map

cdef struct pv_entry
cdef struct pv_chunk
cdef struct pmap
cdef struct vm_page
cdef struct vm_object

cdef enum vm_prot:
    VM_PROT_READ = 1
    VM_PROT_WRITE = 2
    VM_PROT_EXECUTE = 4

# --- physical pages.  Keys: c constant; o object rw lock; f free page queue mutex (or the per-CPU cache that owns the
# page); q page queue ("vm page" mutex); l PV list lock; a atomic

# md_page (24 bytes): the machine-dependent part of a page, and the PV list head of a superpage.
cdef struct md_page:
    pv_entry* pv_first                  # l: PV list, oldest first
    pv_entry* pv_last                   # l
    uint32_t pv_gen                     # l: grows with every insert, remove and rotate
    int32_t pat_mode                    # c

cdef enum vm_page_flags:
    PG_PCPU_CACHE = 1                   # taken from a per-CPU cache: goes back to one when freed
    PG_ZERO = 2                         # known to be zero; kept from vm_page_free to vm_page_alloc(ZERO)
    PG_FICTITIOUS = 4
    PG_ALLOCATED = 8                    # between vm_page_alloc and vm_page_free
    PG_MARKER = 16                      # no page: a place on a queue

cdef enum:
    PGA_WRITEABLE = 1                   # aflags: may be mapped writable
    PGA_REFERENCED = 2
    VPO_UNMANAGED = 4                   # oflags: has no PV list
    VPB_UNBUSIED = 1                    # busy_lock: shared, no sharers
    VPB_EXCLUSIVE = 2
    PQ_NONE = 255
    PQ_INACTIVE = 0
    PQ_ACTIVE = 1

cdef struct vm_page:                    # 104 bytes
    vm_page* plinks_next                # q: page queue
    vm_page* plinks_prev
    vm_page* listq_next                 # o, f: pages of the object; free blocks
    vm_page* listq_prev
    vm_object* object                   # o
    vm_pindex_t pindex                  # o
    vm_paddr_t phys_addr                # c
    md_page md                          # l
    uint32_t ref_count                  # a: wirings, and 0x80000000 for the object's reference
    uint32_t busy_lock                  # a
    uint16_t flags                      # f
    uint8_t order                       # f: 1 + order of the free block that it heads; 0: heads none
    uint8_t pool                        # f
    uint8_t aflags                      # a
    uint8_t oflags                      # o
    uint8_t queue                       # q
    int8_t psind                        # reservation: 1 on the first page of a full one
    uint8_t segind                      # c
    uint8_t act_count                   # q
    uint8_t valid                       # o: 0xff when the whole page is valid
    uint8_t dirty                       # o

# --- pv entries

cdef struct pv_entry:                   # 24 bytes
    vm_offset_t pv_va                   # pmap lock and PV list lock to write, either to read
    pv_entry* pv_next                   # l
    pv_entry* pv_prev                   # l

cdef struct pv_chunk:                   # one page; the pmap of an entry is found by masking its address
    pmap* pc_pmap                       # c
    pv_chunk* pc_list_next              # pmap lock: chunks of the pmap
    pv_chunk* pc_list_prev
    uint64_t pc_map[NPCM]               # pmap lock: a set bit is a free entry
    pv_chunk* pc_lru_next               # chunk list mutex: all chunks
    pv_chunk* pc_lru_prev
    pv_entry pc_pventry[NPCPV]          # pmap lock for allocation; see pv_entry

# --- pmap

cdef struct pmap:
    mtx pm_mtx                          # "pmap"
    pt_entry_t* pm_pml4                 # pmap lock: the root, in the direct map
    vm_page* pm_pml4_page               # c
    pv_chunk* pm_pvchunk_first          # pmap lock: chunks with free entries first
    pv_chunk* pm_pvchunk_last
    void* pm_root                       # pmap lock: saved page-table pages of promoted superpages, a tree by pindex
    int64_t resident_count              # pmap lock: 4 KB pages mapped
    int64_t wired_count                 # pmap lock
    int64_t ptp_count                   # pmap lock: page-table pages, the root included
    uint64_t pm_active                  # a: threads that use it; the CPUs they run on may hold its translations
    uint32_t pm_id                      # c: counts from 1, in order of creation

# --- objects and maps

cdef enum object_type:
    OBJT_DEFAULT = 0                    # anonymous memory
    OBJT_VNODE                          # a file
    OBJT_SWAP                           # a tmpfs file: treated as a swap object

# In the order of FreeBSD's sys/vm/vm_object.h as we remember it [A]: it decides which fields share a cache line with
# the lock, and that the counts do not.
cdef struct vm_object:
    rwlock lock                         # "vm object"
    vm_object* all_next                 # every object, for audits
    vm_object* all_prev
    vm_object* shadow_first             # o
    vm_object* shadow_next              # o of the backing object: its shadows
    vm_object* shadow_prev
    vm_page* memq_first                 # 72 o: resident pages, in order of pindex where cheap
    vm_page* memq_last
    void* pages                         # o: vm_radix: from pindex to vm_page*
    vm_pindex_t size                    # o: in pages
    uint64_t domain[2]                  # the NUMA policy
    uint32_t id                         # 120 c: counts from 1, in order of creation
    int32_t ref_count                   # o
    int32_t shadow_count                # o
    uint8_t type                        # c
    uint8_t flags                       # o
    uint16_t pad
    int64_t color                       # o: -1 until the object may take part in reservations
    uint64_t paging_in_progress         # a: faults that work on the object or its pages: it must not be collapsed
    int64_t resident_page_count         # o
    vm_object* backing_object           # o
    vm_pindex_t backing_object_offset   # o: in pages
    void* reservations                  # "resv obj lock": its reservations (vm_reserv*)
    int32_t file                        # c: index of the file in its image, -1: none
    int32_t builder                     # c: whose copy of the file, -1: shared by all
    int32_t audit                       # references found by vm_audit()
    void* deferred                      # o: deferred_pages: pages that nobody has looked at yet, or NULL

cdef struct vm_map_entry:
    vm_offset_t start                   # m: the vm map lock
    vm_offset_t end                     # m
    vm_object* object                   # m: NULL until the first fault of anonymous memory
    vm_pindex_t offset                  # m: of start in the object, in pages
    uint8_t protection                  # m: vm_prot
    uint8_t max_protection              # m
    uint8_t copy_on_write               # m: private: writes go to a shadow object
    uint8_t needs_copy                  # m: the shadow object has yet to be made
    uint8_t inherit_shared              # m: fork shares instead of copying
    uint8_t grows_down                  # m: a stack
    uint16_t pad
    vm_map_entry* next                  # private: entries taken out of a map, until their objects are let go

cdef struct vmspace:
    sx lock                             # "vm map (user)"
    pmap pm
    uint64_t refcount                   # a: processes that use it (after vfork, two)
    uint32_t hint                       # m or a: index of the entry looked up last; only a hint
    uint32_t nentries                   # m
    uint32_t capacity                   # m
    vm_map_entry** entries              # m: sorted by start
    vmspace* all_next                   # every address space, for audits
    vmspace* all_prev
