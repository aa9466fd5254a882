# The lock profile of a stopped machine, read from Python.

import operator

from libc.stdint cimport int64_t, uint32_t

from finegrain.kernel.locks cimport (
    HISTOGRAM_BUCKETS, MAX_SITES, lock_class_text, lock_name_count, lock_name_record, lock_name_text, lock_profile,
    lock_profile_reset, lock_profile_sum, lock_record, lock_site_count, lock_site_text, pv_wait_record)
from finegrain.kernel.pmap cimport pv_lock_covers, pvlock_state
from finegrain.kernel.types cimport vm_paddr_t
from finegrain.machine.machine cimport Machine
from finegrain.machine.simulated.simulated cimport SimulatedMachine
from finegrain.machine.thread cimport ps_t, thread


# The machine's profile, or ValueError.
cdef lock_profile* profile_of(Machine m) except NULL:
    if m.m == NULL or m.m.profile == NULL:
        raise ValueError("the machine has no kernel: nothing was counted")
    return <lock_profile*>m.m.profile


cdef ps_t time_of(object at) except -1:
    number = operator.index(at)
    if not 0 <= number < 1 << 63:
        raise ValueError("the time must be a number of picoseconds from 0 on, below 2**63")
    return number


cdef list histogram_rows(int64_t* counts):
    return [[1 << i, counts[i]] for i in range(HISTOGRAM_BUCKETS) if counts[i] != 0]


def lock_names():
    """Give the `class:name` of every lock of the modules that are loaded."""
    cdef uint32_t n
    return [f"{lock_class_text(n).decode()}:{lock_name_text(n).decode()}" for n in range(lock_name_count())]


def read_profile(Machine m not None):
    """Read the profile of a stopped machine.

    Returns a list with a dict for each acquisition point that has counted something: the lock's class and name, the
    site, and the fields of `lock_record`, times in picoseconds, histograms as [[upper bound in ns, count], ...].
    """
    cdef lock_record r
    cdef uint32_t n, site
    profile_of(m)
    rows = []
    for n in range(lock_name_count()):
        for site in range(1, lock_site_count()):
            lock_profile_sum(m.m, n, site, &r)
            if r.acquisitions == 0 and r.contested == 0 and r.trylock_failures == 0:
                continue
            rows.append({
                "class": lock_class_text(n).decode(), "name": lock_name_text(n).decode(),
                "site": lock_site_text(site).decode(),
                "acquisitions": r.acquisitions, "contested": r.contested, "trylock_failures": r.trylock_failures,
                "wait_ps": r.wait_total, "wait_max_ps": r.wait_max, "block_ps": r.block_total,
                "spin_ps": r.wait_total - r.block_total, "hold_ps": r.hold_total, "hold_max_ps": r.hold_max,
                "depth_total": r.depth_total, "depth_max": r.depth_max,
                "lines": [r.lines[i] for i in range(5)],
                "transfers": r.transfers, "neighbour_transfers": r.neighbour_transfers,
                "transfer_ps": r.transfer_total, "neighbour_ps": r.neighbour_total,
                "wait_histogram_ns": histogram_rows(r.wait_histogram),
                "hold_histogram_ns": histogram_rows(r.hold_histogram)})
    return rows


def read_charged(Machine m not None):
    """Who held locks while others waited: {(lock "class:name", holder's site, waiter's site): picoseconds}."""
    cdef lock_profile* p = profile_of(m)
    cdef uint32_t n, h, w
    cdef ps_t waited
    out = {}
    for n in range(lock_name_count()):
        for h in range(lock_site_count()):
            for w in range(1, lock_site_count()):
                waited = p.charged[(n * MAX_SITES + h) * MAX_SITES + w]
                if waited != 0:
                    lock = f"{lock_class_text(n).decode()}:{lock_name_text(n).decode()}"
                    out[lock, lock_site_text(h).decode(), lock_site_text(w).decode()] = waited
    return out


def read_names(Machine m not None, at):
    """For each lock name: counts that must balance, up to the time `at` (picoseconds).

    `queue_integral_ps` is the integral of the number of waiting threads over time, `pending_ps` the waits that have
    not ended, `pending_charged_ps` the part of them already charged to holders, `held` how many locks are held now.
    """
    cdef lock_profile* p = profile_of(m)
    cdef lock_name_record* r
    cdef thread* td = m.m.threads
    cdef uint32_t n, i
    cdef ps_t until = time_of(at)
    if isinstance(m, SimulatedMachine) and (<SimulatedMachine>m).running_now:
        raise ValueError("the machine is running: its threads come and go")
    rows = {}
    for n in range(lock_name_count()):
        r = &p.names[n]
        rows[(lock_class_text(n).decode(), lock_name_text(n).decode())] = {
            "acquired": r.acquired, "released": r.released, "waiting": r.waiting, "held": 0,
            "queue_integral_ps": r.queue_integral + r.waiting * (until - r.waiting_since),
            "pending_ps": 0, "pending_charged_ps": 0}
    while td != NULL:
        if td.wanted.address != NULL:
            n = td.wanted.name
            row = rows[(lock_class_text(n).decode(), lock_name_text(n).decode())]
            row["pending_ps"] += until - td.wait_since
            row["pending_charged_ps"] += td.wait_charged - td.wait_since
        for i in range(td.nheld):
            n = td.held[i].lock.name
            rows[(lock_class_text(n).decode(), lock_name_text(n).decode())]["held"] += 1
        td = td.all_next
    return {key: row for key, row in rows.items() if row["acquired"] or row["waiting"] or row["held"]}


cdef bint pv_waited(pv_wait_record* r):
    return r.acquisitions != 0 or r.contested != 0


cdef dict pv_wait_row(uint32_t index, pv_wait_record* r):
    return {"index": index, "acquisitions": r.acquisitions, "contested": r.contested, "wait_ps": r.wait,
            "hold_ps": r.hold, "collision_ps": r.collision, "sharing_ps": r.sharing}


def read_pv_waits(Machine m not None):
    """PV list waits: by lock and by superpage, as two lists of dicts of the fields of `pv_wait_record`.

    A lock's says which physical addresses it covers: bytes `first_pa` up to, not including, `end_pa`; with a `period`
    (else 0) also those that many bytes further on, and again.
    """
    cdef lock_profile* p = profile_of(m)
    cdef vm_paddr_t first, end, period
    cdef uint32_t i
    if m.m.pvlock == NULL:
        raise ValueError("the machine's kernel has no PV list locks")
    locks = [pv_wait_row(i, &p.pv_locks[i]) for i in range(p.pv_lock_count) if pv_waited(&p.pv_locks[i])]
    for row in locks:
        pv_lock_covers(<pvlock_state*>m.m.pvlock, row["index"], &first, &end, &period)
        row |= {"first_pa": first, "end_pa": end, "period": period}
    return [locks, [pv_wait_row(i, &p.superpages[i]) for i in range(p.superpage_count) if pv_waited(&p.superpages[i])]]


def reset_profile(Machine m not None, at):
    """Begin counting afresh at the time `at` (picoseconds): the end of the warm-up."""
    cdef ps_t since = time_of(at)
    profile_of(m)
    lock_profile_reset(m.m, since)


def enable_profile(Machine m not None, enabled):
    """Switch the counting on or off, to measure what it costs."""
    cdef bint on = bool(enabled)
    profile_of(m).enabled = on
