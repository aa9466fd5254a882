# Test door to processes: who lives in a replay.

from finegrain.kernel.proc.types cimport PID_HASH, pgrp, proc, proc_state
from finegrain.kernel.phys.types cimport phys_state
from finegrain.kernel.types cimport NPTEPG, PAGE_SHIFT, pt_entry_t, vm_page
from finegrain.machine.machine cimport Machine
from finegrain.machine.thread cimport machine


def processes(Machine host):
    """The processes of a machine that runs a replay, zombies left out: (builder, number, parent's number).

    They are in order of creation. A reaper's number is -1.
    """
    cdef proc* p = (<proc_state*>host.m.proc).all
    rows = []
    while p != NULL:
        rows.append((p.p_builder, p.p_plan.number, p.p_pptr.p_plan.number if p.p_pptr != NULL else None))
        p = p.p_list_next
    return rows[::-1]


cdef walk(machine* m, pt_entry_t* table, unsigned long long va, int shift, dict out):
    cdef int i
    cdef pt_entry_t e
    cdef vm_page* page
    for i in range(NPTEPG):
        e = table[i]
        if e == 0:
            continue
        if shift > 12:
            walk(m, <pt_entry_t*>(m.dmap + (e & <unsigned long long>0x000ffffffffff000)),
                 va + (<unsigned long long>i << shift), shift - 9, out)
            continue
        page = &(<phys_state*>m.phys).page_array[(e & <unsigned long long>0x000ffffffffff000) >> PAGE_SHIFT]
        if page.object != NULL and page.object.file >= 0:
            out[va + (<unsigned long long>i << shift)] = page.phys_addr


def mapped_file_pages(Machine host):
    """The pages of files that each builder's processes have mapped: {builder: {va: physical address}}.

    For programs without superpage mappings.
    """
    cdef proc* p = (<proc_state*>host.m.proc).all
    out = {}
    while p != NULL:
        if p.p_vmspace != NULL and p.p_vmspace.pm.pm_pml4 != NULL and p.p_plan.number >= 0:
            walk(host.m, p.p_vmspace.pm.pm_pml4, 0, 39, out.setdefault(p.p_builder, {}))
        p = p.p_list_next
    return out


def groups(Machine host):
    """The process groups of such a machine: {(builder, number of the first leader): members' numbers, sorted}."""
    cdef proc_state* st = <proc_state*>host.m.proc
    cdef pgrp* pg
    cdef proc* p
    cdef int i
    out = {}
    for i in range(PID_HASH):
        pg = st.pgrphash[i]
        while pg != NULL:
            members = []
            p = pg.pg_members
            while p != NULL:
                assert p.p_pgrp == pg
                members.append(p.p_plan.number)
                p = p.p_pglist_next
            out[pg.pg_builder, pg.pg_number] = sorted(members)
            pg = pg.pg_hash_next
    return out
