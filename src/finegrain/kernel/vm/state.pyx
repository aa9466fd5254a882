# The state of the VM layer, and its audit.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdio cimport snprintf

from finegrain.kernel.phys cimport vm_radix_lookup
from finegrain.kernel.pmap cimport pmap_audit
from finegrain.kernel.types cimport vm_map_entry, vm_object, vm_page, vmspace
from finegrain.kernel.vm.object cimport OBJ_TMPFS_NODE
from finegrain.machine.seam cimport arena_alloc
from finegrain.machine.thread cimport machine


# Raises MemoryError when the arena is exhausted.
cdef int vm_create(machine* m, const vm_options* options) except -1:
    m.vm = arena_alloc(m, sizeof(vm_state))
    if m.vm == NULL:
        raise MemoryError("no room for the VM's state")
    (<vm_state*>m.vm).options = options[0]
    return 0


# --- the audit

cdef struct auditor:
    char* why
    uint64_t why_size
    int64_t faults


# Count a fault; the first one is described, with two numbers that its text explains.
cdef void found(auditor* a, const char* text, uint64_t x, uint64_t y) noexcept nogil:
    if a.faults == 0 and a.why != NULL:
        snprintf(a.why, a.why_size, text, <unsigned long>x, <unsigned long>y)
    a.faults += 1


cdef void count_entries(vmspace* vms) noexcept nogil:
    cdef uint32_t i
    for i in range(vms.nentries):
        if vms.entries[i].object != NULL:
            vms.entries[i].object.audit += 1


# Put how many map entries, shadows and files refer to each object into its `audit`.
cdef void count_references(vm_state* st) noexcept nogil:
    cdef vm_object* obj = st.all_objects
    cdef vmspace* vms
    while obj != NULL:
        obj.audit = 1 if obj.file >= 0 or obj.flags & OBJ_TMPFS_NODE else 0     # the file itself
        obj = obj.all_next
    obj = st.all_objects
    while obj != NULL:
        if obj.backing_object != NULL:
            obj.backing_object.audit += 1
        obj = obj.all_next
    count_entries(st.pipe_map)
    vms = st.all_maps
    while vms != NULL:
        count_entries(vms)
        vms = vms.all_next


# One object: its references, its pages, its shadows.
#
# Locks in:   none; the machine has stopped.
# Locks out:  none.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef void audit_object(auditor* a, vm_object* obj, bint quiet) noexcept nogil:
    cdef vm_page* m = obj.memq_first
    cdef vm_object* shadow = obj.shadow_first
    cdef int64_t n = 0
    if obj.ref_count < obj.audit or (quiet and obj.ref_count != obj.audit):
        found(a, b"object %lu has another number of references than the %lu found", obj.id, <uint64_t>obj.audit)
    if quiet and obj.paging_in_progress != 0:
        found(a, b"object %lu has %lu faults in progress", obj.id, obj.paging_in_progress)
    while m != NULL:
        n += 1
        if m.object != obj or vm_radix_lookup(obj, m.pindex) != m:
            found(a, b"object %lu: page %lu is not where its list says", obj.id, m.pindex)
        if m.pindex >= obj.size and not obj.flags & ~<int>OBJ_TMPFS_NODE:
            found(a, b"object %lu: page %lu is beyond its end", obj.id, m.pindex)
        m = m.listq_next
    if n != obj.resident_page_count:
        found(a, b"object %lu counts other than the %lu pages that it has", obj.id, <uint64_t>n)
    n = 0
    while shadow != NULL:
        n += 1
        if shadow.backing_object != obj:
            found(a, b"object %lu: shadow %lu has another backing object", obj.id, shadow.id)
        shadow = shadow.shadow_next
    if n != obj.shadow_count:
        found(a, b"object %lu counts other than the %lu shadows that it has", obj.id, <uint64_t>n)


# One map: its entries, its pmap.
#
# Locks in:   none; the machine has stopped.
# Locks out:  none.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef void audit_map(auditor* a, machine* m, vmspace* vms, bint quiet) noexcept nogil:
    cdef uint32_t i
    cdef vm_map_entry* entry
    for i in range(vms.nentries):
        entry = vms.entries[i]
        if entry.start >= entry.end or (i > 0 and vms.entries[i - 1].end > entry.start):
            found(a, b"a map's entries are out of order at %#lx (entry %lu)", entry.start, i)
    # A pmap in the middle of an operation is as its holder left it.
    if quiet or vms.pm.pm_mtx.mtx_lock == 0:
        a.faults += pmap_audit(m, &vms.pm, a.why if a.faults == 0 else NULL, a.why_size if a.faults == 0 else 0)


# Locks in:   none; the machine has stopped.
# Locks out:  none.
# May block:  never.
# Returns:    how many faults were found; the first one's description is in why.
# Stands for: nothing in FreeBSD.
cdef int64_t vm_audit(machine* m, bint quiet, char* why, uint64_t why_size) noexcept nogil:
    cdef vm_state* st = <vm_state*>m.vm
    cdef auditor a
    cdef vm_object* obj = st.all_objects
    cdef vmspace* vms = st.all_maps
    cdef int64_t objects = 0, maps = 0, entries = 0
    a.why = why
    a.why_size = why_size
    a.faults = 0
    count_references(st)
    while obj != NULL:
        objects += 1
        audit_object(&a, obj, quiet)
        obj = obj.all_next
    while vms != NULL:
        maps += 1
        entries += vms.nentries
        audit_map(&a, m, vms, quiet)
        vms = vms.all_next
    entries += st.pipe_map.nentries
    audit_map(&a, m, st.pipe_map, quiet)
    if objects != st.objects or maps != st.maps:
        found(&a, b"%lu objects and %lu maps were found, not as many as are counted", <uint64_t>objects,
              <uint64_t>maps)
    if entries > st.entries or (quiet and entries != st.entries):
        found(&a, b"%lu map entries were found, and %lu are counted", <uint64_t>entries, <uint64_t>st.entries)
    return a.faults
