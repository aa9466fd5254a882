"""Who is interactive, and whom that lets go first: ULE's rule, no more and no less."""

from dataclasses import replace

from finegrain.lab.profile import read_profile
from finegrain.machine.costs import FREE
from machine.plays import US, Script, check_times, ends, play

MS = 1000 * US
ULE = replace(FREE, preemption=1, run_queues=1)
INTERACTIVE, BATCH = range(120, 152), 172


def priorities(*scripts: Script, **how: object) -> list[int]:
    s = play(*scripts, costs=ULE, **how)  # type: ignore[arg-type]
    return [row[5] for row in sorted(s.trace(), key=lambda row: row[1:4]) if row[4] == "priority_of"]


def test_sleeping_makes_interactive_and_running_does_not() -> None:
    # A quarter as long on the CPU as asleep: a score of 50 / 4.
    assert priorities([("sleep", 100 * MS), ("user", 25 * MS), ("priority_of", 0)]) == [120 + 12]
    assert priorities([("sleep", 100 * MS), ("user", 70 * MS), ("priority_of", 0)]) == [BATCH]
    slept: Script = [
        ("user", 10 * MS),
        ("sleep", 1000 * MS),
        ("priority_of", 0),
        ("user", US),
        ("priority_of", 0),
    ]
    kernel, user = priorities(slept)
    assert kernel == 152  # what it did counts when it is back in user code
    assert user in INTERACTIVE
    # Shorter than a tick: it does not count.
    short: Script = [("user", MS), ("sleep", MS // 2)] * 20
    assert priorities([*short, ("user", US), ("priority_of", 0)]) == [BATCH]


def test_the_past_is_forgotten() -> None:
    slept: Script = [("sleep", 10_000 * MS)] * 2
    assert priorities([*slept, ("user", 4000 * MS), ("priority_of", 0)]) == [BATCH]
    assert priorities([*slept, ("user", 2000 * MS), ("priority_of", 0)])[0] in INTERACTIVE


def test_run_time_left_to_another_counts_against_it() -> None:
    parent: Script = [("sleep", 100 * MS), ("user", US), ("priority_of", 0)] * 2
    child: Script = [("user", 150 * MS), ("leave", 0)]
    assert priorities(parent)[1] in INTERACTIVE
    before, after = priorities(parent, child)
    assert before in INTERACTIVE
    assert after == BATCH


# The others come when the shell has parked; two parts of running to three of sleep make nobody interactive.
LATER = ("sleep", 3 * MS)
HOLDER: Script = [
    LATER,
    ("user", 2 * MS),
    ("lock", 0),
    ("charge", 100 * US),
    ("charge", 100 * US),
    ("unlock", 0),
]
SHELL: Script = [("sleep", 2 * MS), ("user", US), ("park",), ("user", 500 * US)]


def test_an_interactive_thread_preempts_a_compiler_in_the_kernel_on_another_cpu() -> None:
    """And then the lock's waiter blocks, where it would have spun; the idle CPU takes the holder over."""
    waiter: Script = [LATER, ("user", 2040 * US), ("lock", 0), ("unlock", 0)]
    waker: Script = [LATER, ("priority", 100), ("charge", 2050 * US), ("unpark", 0), ("charge", 20 * MS)]
    scripts = [SHELL, waker, waiter, HOLDER]  # the fourth has the CPU that was the shell's
    costs = replace(ULE, ctx_switch=1000.0)
    s = play(*scripts, cores=3, costs=costs, locks=["mtx"])
    assert s.machine.counters()["preemptions"] == 1
    # It had the CPU from 5.2 ms, where the holder's kernel code looked next, for half a millisecond.
    assert ends(s, "user")[1] == 5702
    assert [row["block_ps"] > 0 for row in read_profile(s.machine) if row["wait_ps"]] == [True]
    check_times(s.machine)
    off = play(*scripts, cores=3, costs=replace(costs, preemption=0), locks=["mtx"])
    assert off.machine.counters()["preemptions"] == 0
    assert sum(row["block_ps"] for row in read_profile(off.machine)) == 0


def test_a_thread_that_is_not_interactive_waits() -> None:
    waker: Script = [("priority", 100), ("charge", 5050 * US), ("unpark", 0), ("charge", 20 * MS)]
    shell = [("user", 4 * MS), *SHELL[2:]]
    s = play(shell, waker, [("user", MS), *HOLDER[1:]], cores=2, costs=ULE, locks=["mtx"])
    assert s.machine.counters()["preemptions"] == 0


def test_user_code_is_left_at_once_and_the_rest_of_it_runs_later() -> None:
    s = play([("sleep", 3 * MS + 300 * US), ("user", 500 * US)], [("user", 10 * MS)], cores=1, costs=ULE)
    assert ends(s, "user") == [3800, 10_500]
    check_times(s.machine)


def test_an_interrupt_after_the_end_of_user_code_does_not_lengthen_it() -> None:
    """The shell is woken 10 us before the compiler's user code ends, by an interrupt that takes 30 us to come."""
    waker: Script = [LATER, ("priority", 100), ("charge", 2040 * US), ("unpark", 0), ("charge", 20 * MS)]
    costs = replace(ULE, ipi_flight=30_000.0)
    compiler: Script = [LATER, ("user", 2050 * US), ("charge", US)]
    s = play(SHELL, waker, compiler, cores=2, costs=costs)
    assert ends(s, "user")[2] == 5050
    assert s.machine.counters()["ipis"] == 1
