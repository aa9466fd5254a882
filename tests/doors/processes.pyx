# Test door to processes: who lives in a replay.

from finegrain.kernel.proc.proc cimport proc, proc_state
from finegrain.machine.machine cimport Machine


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
