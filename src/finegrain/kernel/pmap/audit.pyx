# Auditing a pmap: page tables, counts, chunks and PV lists against each other.
#
# In three passes.  First the page tables are walked: each PTP's count of valid entries, the pmap's counts of mappings,
# wirings and PTPs, the saved PTPs.  Then the chunks: each entry in use finds its PTE by its address, marks it, and
# stands properly on the PV list of the page that the PTE maps, next to entries that do too.  Last, the page tables
# again: a managed PTE without a mark has no entry; marks are taken away.
#
# A mark is a bit that no PTE uses, so that two entries for one PTE, and a PTE without one, are told apart however
# long the lists are.

from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf

from finegrain.kernel.phys cimport phys_state
from finegrain.kernel.pmap.chunk cimport PC_FREE_MASK, chunk_empty, ctz, pv_to_chunk
from finegrain.kernel.pmap.pt cimport (
    PDPSHIFT, PG_FRAME, PG_MANAGED, PG_PS, PG_PS_FRAME, PG_RW, PG_V, PG_W, PML4SHIFT, VM_MAXUSER_ADDRESS)
from finegrain.kernel.pmap.pvlock cimport pv_head_at, pvlock_state
from finegrain.kernel.pmap.radix cimport pm_radix_lookup_ge
from finegrain.kernel.types cimport (
    NPCM, NPTEPG, PAGE_SHIFT, PDRSHIFT, PGA_WRITEABLE, md_page, pt_entry_t, pv_chunk, pv_entry, vm_offset_t,
    vm_paddr_t, vm_page)

cdef extern from *:
    """
    #define AUDIT_MARK (1ul << 58)
    """
    const pt_entry_t AUDIT_MARK

cdef struct audit_state:
    machine* m
    pmap* pm
    char* why
    uint64_t why_size
    int64_t faults
    int64_t resident
    int64_t wired
    int64_t ptps
    int64_t managed                     # managed leaf entries
    bint marks                          # third pass: look for marks, and take them away


cdef inline pt_entry_t* table(machine* m, pt_entry_t entry) noexcept nogil:
    return <pt_entry_t*>(m.dmap + (entry & PG_FRAME))


cdef inline vm_page* page(machine* m, vm_paddr_t pa) noexcept nogil:
    return &(<phys_state*>m.phys).page_array[pa >> PAGE_SHIFT]


# One more fault; the first is told, with two numbers.
cdef void found(audit_state* a, const char* text, uint64_t x, uint64_t y) noexcept nogil:
    if a.faults == 0:
        snprintf(a.why, a.why_size, text, a.pm.pm_id, <unsigned long>x, <unsigned long>y)
    a.faults += 1


cdef md_page* pvh_of(audit_state* a, vm_paddr_t pa) noexcept nogil:
    return pv_head_at(<pvlock_state*>a.m.pvlock, pa)


# A mapping: `pages` small pages at va.
cdef void leaf(audit_state* a, pt_entry_t* entry, vm_offset_t va, int64_t pages) noexcept nogil:
    cdef vm_page* m = page(a.m, entry[0] & (PG_FRAME if pages == 1 else PG_PS_FRAME))
    if a.marks:
        if entry[0] & PG_MANAGED and (entry[0] & AUDIT_MARK) == 0:
            found(a, b"pmap %u: the managed mapping at %#lx (%lu pages) has no pv entry", va, pages)
        entry[0] &= ~AUDIT_MARK
        return
    a.resident += pages
    if entry[0] & PG_W:
        a.wired += pages
    if entry[0] & PG_MANAGED:
        a.managed += 1
        if entry[0] & PG_RW and (m.aflags & PGA_WRITEABLE) == 0:
            found(a, b"pmap %u: the mapping at %#lx is writable, its page %#lx not marked so", va, m.phys_addr)


# The entries of a PTP that covers `shift` bits an entry.
cdef int64_t walk(audit_state* a, pt_entry_t* entries, vm_offset_t va, int shift) noexcept nogil:
    cdef int64_t valid = 0
    cdef int i
    cdef pt_entry_t e
    cdef vm_offset_t at
    cdef vm_page* ptp
    cdef int64_t below
    for i in range(NPTEPG):
        e = entries[i]
        if e == 0:
            continue
        at = va + (<vm_offset_t>i << shift)
        if (e & PG_V) == 0:
            found(a, b"pmap %u: the entry at %#lx is invalid and not zero: %#lx", at, e)
            continue
        valid += 1
        if shift == PAGE_SHIFT:
            leaf(a, &entries[i], at, 1)
        elif shift == PDRSHIFT and e & PG_PS:
            leaf(a, &entries[i], at, NPTEPG)
        else:
            ptp = page(a.m, e & PG_FRAME)
            below = walk(a, table(a.m, e), at, shift - 9)
            if a.marks:
                continue
            a.ptps += 1
            if shift == PDRSHIFT and at >= VM_MAXUSER_ADDRESS:
                continue                # the kernel's page tables stay, and count nothing
            if <int64_t>ptp.ref_count != below:
                found(a, b"pmap %u: the page table for %#lx counts %lu entries, and has not as many", at, ptp.ref_count)
            if below == 0:
                found(a, b"pmap %u: the page table for %#lx is empty (level %lu)", at, shift)
    return valid


# The entry of a superpage, or of a small page; NULL when there is none.
cdef pt_entry_t* find(audit_state* a, vm_offset_t va) noexcept nogil:
    cdef pt_entry_t e = a.pm.pm_pml4[(va >> PML4SHIFT) & (NPTEPG - 1)]
    cdef pt_entry_t* entry
    if (e & PG_V) == 0:
        return NULL
    e = table(a.m, e)[(va >> PDPSHIFT) & (NPTEPG - 1)]
    if (e & PG_V) == 0:
        return NULL
    entry = &table(a.m, e)[(va >> PDRSHIFT) & (NPTEPG - 1)]
    if entry[0] & PG_V and (entry[0] & PG_PS) == 0:
        entry = &table(a.m, entry[0])[(va >> PAGE_SHIFT) & (NPTEPG - 1)]
    return entry if entry[0] & PG_V else NULL


# The entry is in use according to its chunk.
cdef bint in_use(pv_entry* pv) noexcept nogil:
    cdef pv_chunk* pc = pv_to_chunk(pv)
    cdef uint64_t i = <uint64_t>(pv - pc.pc_pventry)
    return (pc.pc_map[i >> 6] >> (i & 63)) & 1 == 0


cdef void entry(audit_state* a, pv_entry* pv) noexcept nogil:
    cdef pt_entry_t* pte = find(a, pv.pv_va)
    cdef md_page* md
    cdef vm_paddr_t pa
    if pte == NULL or (pte[0] & PG_MANAGED) == 0:
        found(a, b"pmap %u: the pv entry for %#lx has no managed mapping", pv.pv_va, 0)
        return
    if pte[0] & AUDIT_MARK:
        found(a, b"pmap %u: two pv entries for %#lx", pv.pv_va, 0)
    pte[0] |= AUDIT_MARK
    if pte[0] & PG_PS:
        pa = pte[0] & PG_PS_FRAME
        md = pvh_of(a, pa)
    else:
        pa = pte[0] & PG_FRAME
        md = &page(a.m, pa).md
    if (md.pv_first != pv if pv.pv_prev == NULL else pv.pv_prev.pv_next != pv or not in_use(pv.pv_prev)):
        found(a, b"pmap %u: the PV list of page %#lx is broken before the entry for %#lx", pa, pv.pv_va)
    if (md.pv_last != pv if pv.pv_next == NULL else pv.pv_next.pv_prev != pv or not in_use(pv.pv_next)):
        found(a, b"pmap %u: the PV list of page %#lx is broken after the entry for %#lx", pa, pv.pv_va)


cdef void chunks(audit_state* a) noexcept nogil:
    cdef pv_chunk* pc = a.pm.pm_pvchunk_first
    cdef pv_chunk* before = NULL
    cdef uint64_t inuse
    cdef int field
    cdef int64_t used = 0
    while pc != NULL:
        if pc.pc_pmap != a.pm or pc.pc_list_prev != before:
            found(a, b"pmap %u: its list of pv chunks is broken", 0, 0)
            return
        if chunk_empty(pc):
            found(a, b"pmap %u: an empty pv chunk was kept", 0, 0)
        for field in range(NPCM):
            if pc.pc_map[field] & ~PC_FREE_MASK(field):
                found(a, b"pmap %u: a pv chunk says that entries are free that it has not", 0, 0)
            inuse = ~pc.pc_map[field] & PC_FREE_MASK(field)
            while inuse != 0:
                entry(a, &pc.pc_pventry[field * 64 + ctz(inuse)])
                inuse &= inuse - 1
                used += 1
        before = pc
        pc = pc.pc_list_next
    if a.pm.pm_pvchunk_last != before:
        found(a, b"pmap %u: the end of its list of pv chunks is wrong", 0, 0)
    if used != a.managed:
        found(a, b"pmap %u: %lu pv entries for %lu managed mappings", used, a.managed)


# Saved PTPs stand for superpage mappings.
#
# Locks in:   none; the machine has stopped.
# Locks out:  none.
# May block:  never.
# Stands for: nothing in FreeBSD.
cdef void saved(audit_state* a) noexcept nogil:
    cdef vm_page* m = pm_radix_lookup_ge(a.pm.pm_root, 0)
    cdef pt_entry_t* pde
    while m != NULL:
        a.ptps += 1
        pde = find(a, m.pindex << PDRSHIFT)
        if pde == NULL or (pde[0] & PG_PS) == 0:
            found(a, b"pmap %u: the page table saved for %#lx has no superpage mapping", m.pindex << PDRSHIFT, 0)
        if m.ref_count != NPTEPG:
            found(a, b"pmap %u: the page table saved for %#lx counts %lu entries", m.pindex << PDRSHIFT, m.ref_count)
        m = pm_radix_lookup_ge(a.pm.pm_root, m.pindex + 1)


# Locks in:   none; the machine has stopped.
# Locks out:  none.
# May block:  never.
# Returns:    how many faults; the first one's description is in why.
# Stands for: nothing in FreeBSD.
cdef int64_t pmap_audit(machine* m, pmap* pm, char* why, uint64_t why_size) noexcept nogil:
    cdef audit_state a
    a.m = m
    a.pm = pm
    a.why = why
    a.why_size = why_size
    a.faults = 0
    a.resident = 0
    a.wired = 0
    a.ptps = 1
    a.managed = 0
    a.marks = False
    walk(&a, pm.pm_pml4, 0, PML4SHIFT)
    saved(&a)
    if a.resident != pm.resident_count:
        found(&a, b"pmap %u: %lu pages are mapped, %lu counted", a.resident, pm.resident_count)
    if a.wired != pm.wired_count:
        found(&a, b"pmap %u: %lu pages are wired, %lu counted", a.wired, pm.wired_count)
    if a.ptps != pm.ptp_count:
        found(&a, b"pmap %u: %lu page-table pages, %lu counted", a.ptps, pm.ptp_count)
    chunks(&a)
    a.marks = True
    walk(&a, pm.pm_pml4, 0, PML4SHIFT)
    return a.faults
