# Processes: fork, vfork, exec, exit, wait.  Locks: "proctree", "allproc", "process lock".

from finegrain.kernel.proc.proc cimport (
    WAIT_ANY, proc, proc_create, proc_exec_begin, proc_exec_end, proc_exit, proc_fork, proc_of, proc_plan, proc_reaper,
    proc_state, proc_wait)
