# Processes: fork, vfork, exec, exit, wait; groups and sessions; lists of all processes.  Locks: "proctree", "allproc",
# "process lock", "process group", "session", "sigacts", "pidhash", "procid".
#
#   proc     lives of processes
#   pgrp     process groups and sessions
#   listing  lists of all processes, as ps makes them
#   threads  the threads of a process
#   types    the structs

from finegrain.kernel.proc.listing cimport listing_start
from finegrain.kernel.proc.pgrp cimport killpg, sys_setpgid, sys_setsid
from finegrain.kernel.proc.proc cimport (
    WAIT_ANY, proc_create, proc_exec_begin, proc_exec_end, proc_exit, proc_fork, proc_reaper, proc_wait)
from finegrain.kernel.proc.threads cimport kern_thr_exit, kern_thr_new, thread_single
from finegrain.kernel.proc.types cimport proc, proc_of, proc_plan, proc_state
