"""Readers for the lock profiles that other systems print, one file a format."""

from finegrain.profile.readers.base import Reader
from finegrain.profile.readers.bpftrace import Bpftrace
from finegrain.profile.readers.go_pprof import GoPprof
from finegrain.profile.readers.klockstat import Klockstat
from finegrain.profile.readers.lock_profiling import LockProfiling
from finegrain.profile.readers.lock_stat import LockStat
from finegrain.profile.readers.lockstat import Lockstat
from finegrain.profile.readers.netbsd_lockstat import NetbsdLockstat
from finegrain.profile.readers.perf_contention import PerfContention
from finegrain.profile.readers.perf_report import PerfReport
from finegrain.profile.readers.plockstat import Plockstat

READERS: tuple[type[Reader], ...] = (
    *(LockProfiling, Lockstat, LockStat, PerfContention, PerfReport, Klockstat),
    *(NetbsdLockstat, Plockstat, Bpftrace, GoPprof),
)
