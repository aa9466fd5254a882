"""What is wrong in dumps as people send them, through whatever a mail program does to it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finegrain.profile.readers import READERS
from mangled_mail import mangled
from read_sample import read

PROFILING = "max wait_max total wait_total count avg wait_avg cnt_hold cnt_lock name"
LOCK_STAT = (
    "class name con-bounces contentions waittime-min waittime-max waittime-total acq-bounces acquisitions "
    "holdtime-min holdtime-max holdtime-total"
)
SECTION = (
    "Adaptive mutex spin: 40 events in 2.000 seconds (20 events/sec)\nCount indv cuml rcnt nsec Lock Caller"
)
PERF = "contended   total wait     max wait     avg wait         type   caller"
NETBSD = "Elapsed time: 2.50 seconds.\n\n-- Spin mutex spin\n\nTotal% Count Time/ms Lock Caller"
# format -> heading, a whole row whose wait is 7 or 9 us, a row that was cut, is a row again another dump
TEXTS = {
    "FreeBSD LOCK_PROFILING": (PROFILING, "1 2 3 {0} 5 6 7 0 9 /a.c:1{0} (rw:a)", "1 2 3 4 5 6 7", True),
    "Linux lock_stat": (
        f"lock_stat version 0.3\n{LOCK_STAT}",
        "a{0}_lock: 1 2 0.10 0.20 {0}.00 4 5 0.60 0.70 0.80",
        "b_lock: 1 2 0.10 0.20 0.30",
        True,
    ),
    "lockstat": (SECTION, "1 50% 50% 0.00 {0}000 a f+0x{0}", "4 50% 50% 0.00 10 b", False),
    "perf lock contention": (
        PERF,
        "1 {0}.00 us {0}.00 us {0}.00 us mutex f+0x{0}",
        "2 3.00 us 2.00 us",
        False,
    ),
    "perf lock report": (
        "Name acquired contended avg wait total wait max wait",
        "a{0} 1 1 {0}.00 us {0}.00 us {0}.00 us",
        "b 2 2 3.00 us",
        False,
    ),
    "klockstat": (
        "Tid Comm Avg Wait Count Max Wait Total Wait",
        "{0} a {0}.0 us 1 {0}.0 us {0}.0 us",
        "3 b 2.0 us",
        True,
    ),
    "NetBSD lockstat": (NETBSD, "50.00 {0} 0.0{0} a f+0x{0}", "30.00 2 0.05", False),
    "plockstat": ("Mutex block\nCount nsec Lock Caller", "1 {0}000 a.out`a a.out`f+0x{0}", "2 3000", False),
    "bpftrace map": ("Attaching 2 probes...", "@wait[\n    f+{0}\n]: {0}000", "@wait[\n    g+1", True),
    "go pprof": (
        "Type: delay\nflat flat% sum% cum cum%",
        "{0}us 50% 50% {0}us 50% main.f{0}",
        "3us 5% 5%",
        True,
    ),
}


def test_every_format_is_tried() -> None:
    assert set(TEXTS) == {reader.format for reader in READERS}


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_defects_come_through_the_mail(name: str, data: st.DataObject) -> None:
    heading, row, cut, keyed = TEXTS[name]
    seven, nine = row.format(7), row.format(9)
    us = 10.0 if name == "NetBSD lockstat" else 1.0

    def waits(*lines: str) -> tuple[list[list[float]], int, str]:
        file = read(data.draw(mangled("\n".join([heading, *lines]) + "\n", narrowest=115)))
        found = [[wait / us for wait in profile.table["wait_us"].to_list()] for profile in file.profiles]
        return found, file.broken_rows, " ".join(file.notes[name])

    found, broken, _ = waits(cut, nine, seven)
    assert found == [[9, 7]]
    assert broken >= 1
    found, broken, notes = waits(nine, seven, seven)
    assert (found, broken) == ([[9, 7]], 0)
    assert "is read once" in notes
    if keyed:
        found, broken, notes = waits(nine, seven, nine)
        assert (found, broken) == ([[9, 7], [9]], 0)
        assert "a new dump begins there" in notes
