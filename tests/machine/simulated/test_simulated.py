"""The simulated machine: clocks, CPUs, the scheduler, cache lines, interrupts; and how it stops."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doors.customers import customers_start
from doors.queues import Station, arena_blocks
from doors.script import Scripts
from finegrain.lab.profile import read_charged, read_names, read_profile, reset_profile
from finegrain.machine.costs import FREE, CostModel
from finegrain.machine.errors import KernelPanic
from finegrain.machine.simulated import SimulatedMachine

US = 10**6
Script = list[tuple[Any, ...]]


def play(
    *scripts: Script,
    costs: CostModel = FREE,
    locks: list[str] | None = None,
    checked: bool = True,
    **shape: int,
) -> Scripts:
    m = SimulatedMachine(**({"sockets": 1, "cores": 8, "threads": 1} | shape), costs=costs)  # type: ignore[arg-type]
    s = Scripts(m, locks or [], list(scripts), checked=checked)
    m.run()
    return s


def ends(s: Scripts, op: str) -> list[float]:
    """When operations of this kind ended, in microseconds, by script and place in it."""
    return [row[1] / US for row in sorted(s.trace(), key=lambda row: row[2:4]) if row[4] == op]


def check_times(m: SimulatedMachine) -> None:
    for cpu in m.cpu_times():
        assert cpu.pop("clock") == sum(cpu.values())


# --- shapes ---


@pytest.mark.parametrize(
    ("sockets", "cores", "threads"), [(1, 1, 1), (1, 1, 2), (2, 26, 2), (1, 104, 1), (16, 64, 1), (16, 32, 2)]
)
def test_every_cpu_runs(sockets: int, cores: int, threads: int) -> None:
    m = SimulatedMachine(sockets=sockets, cores=cores, threads=threads)
    n = sockets * cores * threads
    assert m.ncpus == n
    customers_start(m, n, 16, 10 * US, 100_000, rounds=5)
    assert m.run() is False
    assert m.threads == 0
    assert all(cpu["kernel"] > 0 for cpu in m.cpu_times())
    check_times(m)
    assert sum(row["acquisitions"] for row in read_profile(m)) == 5 * n


@pytest.mark.parametrize("shape", [(0, 1, 1), (17, 1, 1), (1, 0, 1), (1, 1, 3), (16, 64, 2)])
def test_shapes_that_cannot_be(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"socket|CPUs"):
        SimulatedMachine(sockets=shape[0], cores=shape[1], threads=shape[2])


# --- clocks, the scheduler ---


def test_run_until_and_on() -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1, costs=FREE)
    s = Scripts(m, [], [[("charge", 10 * US), ("user", 10 * US)]])
    assert m.run(5 * US) is True
    assert m.time_ps == 5 * US
    assert m.run(15 * US) is True
    with pytest.raises(ValueError, match="already"):
        m.run(1)
    assert m.run() is False
    assert ends(s, "user") == [20]


def test_time_slices() -> None:
    """Three threads of 6 ms of user time on one CPU, in slices of 2 ms."""
    costs = replace(FREE, time_slice=2.0e6, ctx_switch=1000.0)
    s = play(*[[("user", 6000 * US)]] * 3, cores=1, costs=costs)
    # Rounds of three slices, a microsecond of switching before each but the first.
    assert ends(s, "user") == [14_006, 16_007, 18_008]
    m = s.machine
    assert m.counters()["context_switches"] == 8
    check_times(m)


def test_a_better_priority_waits_for_a_cpu_first_and_is_not_preempted() -> None:
    costs = replace(FREE, time_slice=1.0e6)
    urgent: Script = [("priority", 50), ("sleep", 10 * US), ("user", 3000 * US)]
    s = play(urgent, [("user", 5000 * US)], [("user", 5000 * US)], cores=1, costs=costs)
    # Back from its sleep at 10 us it gets the CPU at the first slice's end, for as long as it wants.
    assert ends(s, "user")[0] == 4000


def test_wake_up_goes_to_the_last_cpu_then_to_an_idle_core_nearby() -> None:
    # Four threads on 2 sockets x 2 cores x 2 siblings: a core each.
    costs = replace(FREE, smt_kernel=0.5)
    s = play(*[[("charge", 10 * US)]] * 4, sockets=2, cores=2, threads=2, costs=costs)
    assert ends(s, "charge") == [10] * 4
    # A fifth shares one, and both are slow meanwhile.
    s = play(*[[("charge", 10 * US), ("charge", 10 * US)]] * 5, sockets=2, cores=2, threads=2, costs=costs)
    assert sorted(ends(s, "charge")) == [10, 10, 10, 20, 20, 20, 20, 20, 40, 40]


def test_siblings_slow_each_other() -> None:
    costs = replace(FREE, smt_kernel=0.5, smt_user=0.8)
    s = play([("charge", 10 * US)], [("charge", 10 * US)], cores=1, threads=2, costs=costs)
    assert ends(s, "charge") == [20, 20]
    s = play([("user", 10 * US)], [("user", 10 * US)], cores=1, threads=2, costs=costs)
    assert ends(s, "user") == [12.5, 12.5]
    s = play([("sleep", US), ("user", 10 * US)], [("sleep", 20 * US)], cores=1, threads=2, costs=costs)
    assert ends(s, "user") == [11]


def test_an_unpark_before_the_park_counts() -> None:
    s = play([("charge", 10 * US), ("park",), ("charge", US)], [("charge", US), ("unpark", 0)])
    assert ends(s, "park") == [10]
    s = play([("park",)], [("charge", 7 * US), ("unpark", 0)])
    assert ends(s, "park") == [7]


def test_wake_up_and_switching_cost_what_they_say() -> None:
    costs = replace(FREE, wakeup=3000.0, ipi_send=300.0)
    s = play([("park",)], [("charge", 7 * US), ("unpark", 0)], costs=costs)
    # Started at 3 us; awake 3 us after the interrupt was sent.
    assert ends(s, "unpark") == [10.3]
    assert ends(s, "park") == [13.3]


# --- cache lines ---

LINES = replace(
    FREE, l1_hit_cycles=2.7, llc_hit_cycles=27.0, dram_local=100.0, xfer_smt=7.0, xfer_socket=50.0, xfer_cross=130.0,
    share_socket=40.0, share_cross=115.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "first", "then", "ns", "kind"),
    [
        # who writes or reads first, what the second thread pays for its access, and where the line came from
        ((1, 1, 2), "write", "write", 7, "sibling"),
        ((1, 2, 1), "write", "write", 50, "socket"),
        ((2, 1, 1), "write", "write", 130, "cross"),
        ((1, 1, 2), "write", "read", 7, "sibling"),
        ((1, 2, 1), "write", "read", 50, "socket"),
        ((2, 1, 1), "write", "read", 130, "cross"),
    ],
)
def test_a_line_comes_from_its_last_writer(
    shape: tuple[int, int, int], first: str, then: str, ns: int, kind: str
) -> None:
    script: Script = [("charge", US), (then, 0), (then, 0)]
    s = play([(first, 0)], script, costs=LINES, sockets=shape[0], cores=shape[1], threads=shape[2])
    taken = [row[1] - row[0] for row in s.trace() if row[2] == 1]
    assert taken == [US, ns * 1000, 1000]  # the second time it is at home
    counts = s.machine.line_accesses()
    assert counts[0]["memory"] == 1
    assert counts[1] == {k: int(k in (kind, "hit")) for k in ("hit", "sibling", "socket", "cross", "memory")}


def test_clean_copies_are_cheaper_and_are_invalidated() -> None:
    def at(us: int, op: str) -> Script:
        return [("charge", us * US), (op, 0)]

    # Threads 0, 2 run on socket 0, threads 1, 3 on socket 1.
    s = play([("write", 0), *at(9, "write")], at(1, "read"), at(5, "read"), at(3, "read"),
             costs=LINES, sockets=2, cores=2)  # fmt: skip
    taken = [(row[1] - row[0]) // 1000 for row in s.trace() if row[4] != "charge"]
    # From memory; across; from the socket's cache; a clean copy of a core of this socket; the far copies go.
    assert taken == [100, 130, 10, 40, 130]


def test_one_cpu_has_neither_transfers_nor_waits() -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1)
    customers_start(m, 3, 2, 10 * US, US, rounds=50)
    m.run()
    (line,) = m.line_accesses()
    assert line["sibling"] == line["socket"] == line["cross"] == 0
    assert sum(row["wait_ps"] for row in read_profile(m)) == 0


def test_every_access_is_counted_once() -> None:
    scripts: list[Script] = [
        [("charge", 7 * i), ("write", i % 3), ("read", (i + 1) % 3), ("write", 2)] for i in range(8)
    ]
    s = play(*scripts, costs=CostModel(), sockets=2, cores=2, threads=2)
    counts = s.machine.line_accesses()
    assert sum(sum(row.values()) for row in counts) == 24
    assert sum(row["memory"] for row in counts) == 3


# --- shootdowns ---


def test_a_shootdown_interrupts_busy_cpus_and_waits_for_the_last() -> None:
    costs = replace(
        FREE, ipi_send=300.0, ipi_per_target=200.0, ipi_flight=900.0, ipi_handler=500.0, invlpg_cycles=270.0,
        cr3_write_cycles=2700.0,
    )  # fmt: skip
    for pages, handler in ((2, 500 + 2 * 100), (0, 500 + 1000), (5000, 500 + 1000)):
        busy: Script = [("user", 100 * US), ("user", US)]
        s = play([("charge", 10 * US), ("shootdown", 0b11111111, pages)], busy, busy, costs=costs)
        m = s.machine
        # Itself and five idle CPUs left out.
        assert m.counters()["ipis"] == m.counters()["ipi_acknowledgements"] == 2
        assert ends(s, "shootdown") == pytest.approx([10 + (300 + 2 * 200 + 900 + handler) / 1000])
        assert ends(s, "user") == pytest.approx([100, 101 + handler / 1000] * 2)
        assert [cpu["interrupt"] for cpu in m.cpu_times()][1:3] == [handler * 1000] * 2
        check_times(m)


# --- determinism ---

PROGRAM = textwrap.dedent("""
    import hashlib
    from doors.customers import customers_start
    from finegrain.lab.profile import read_charged, read_names, read_profile
    from finegrain.machine.simulated import SimulatedMachine
    m = SimulatedMachine()
    customers_start(m, 150, 32, 3_000_000, 500_000, kind="rw", write_fraction=0.3, preemptible=True)
    m.run(2 * 10**9)
    seen = [read_profile(m), read_charged(m), read_names(m, m.time_ps), m.cpu_times(), m.line_accesses(), m.counters()]
    print(hashlib.sha256(repr(seen).encode()).hexdigest(), sum(r["acquisitions"] for r in seen[0]))
""")


def test_the_same_bytes_in_every_process() -> None:
    outs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "4711")
    }
    assert len(outs) == 1
    assert int(outs.pop().split()[1]) > 10_000


def test_relabelling_cpus_of_a_socket_changes_no_total() -> None:
    """Eight threads, 0, 2, 4, 6 of them on socket 0; those change places."""

    def total(order: list[int]) -> tuple[Any, ...]:
        scripts: list[Script] = []
        for i in order:
            scripts.append([("charge", 1 + i * 7919)])
            for k in range(40):
                scripts[-1] += [("lock", (i * k) % 3), ("charge", 50_021 + 97 * i), ("unlock", (i * k) % 3),
                                ("charge", 100_003 + 1009 * i)]  # fmt: skip
        s = play(*scripts, costs=CostModel(), locks=["mtx"] * 3, sockets=2, cores=4)
        m = s.machine
        times = m.cpu_times()
        sums = {key: sum(t[key] for t in times) for key in times[0]}
        return read_profile(m), read_charged(m), sums, m.time_ps

    one = total([0, 1, 2, 3, 4, 5, 6, 7])
    assert one[0][0]["contested"] > 50
    assert total([4, 1, 6, 3, 2, 5, 0, 7]) == one


# --- identities of a running machine ---


@pytest.mark.parametrize("kind", ["sleep mutex", "rw", "sx"])
@pytest.mark.parametrize("threads", [104, 150])
def test_identities_in_every_window(kind: str, threads: int) -> None:
    m = SimulatedMachine()
    customers_start(m, threads, 8, 3 * US, US, kind=kind, write_fraction=0.5, preemptible=threads > 104)
    start = 0
    for end in (100 * US, 300 * US, 800 * US, 1300 * US):
        m.run(end)
        names = read_names(m, end)
        rows = read_profile(m)
        ((_, n),) = names.items()
        waits = sum(row["wait_ps"] for row in rows)
        assert waits == sum(row["spin_ps"] + row["block_ps"] for row in rows)
        assert n["queue_integral_ps"] == waits + n["pending_ps"]  # Little's law
        assert sum(read_charged(m).values()) == waits + n["pending_charged_ps"]
        assert n["acquired"] - n["released"] == n["held"]
        if kind == "sleep mutex":  # utilisation: at most one holder a lock
            assert sum(row["hold_ps"] for row in rows) <= 8 * (end - start)
        check_times(m)
        start = end
        reset_profile(m, end)
    assert sum(row["acquisitions"] for row in rows) > 1000


# --- kernel memory ---


@given(draws=st.lists(st.tuples(st.booleans(), st.integers(1, 20_000), st.integers(0, 99)), max_size=60))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_blocks_of_the_arena_never_overlap(draws: list[tuple[bool, int, int]]) -> None:
    steps: list[int] = []
    sizes: list[int] = []
    live: list[int] = []
    alive_at: list[list[int]] = []  # for each block: those alive when it was made
    for make, size, which in draws:
        if make or not live:
            alive_at.append(list(live))
            live.append(len(sizes))
            sizes.append(size)
            steps.append(size)
        else:
            steps.append(-1 - live.pop(which % len(live)))
    offsets = arena_blocks(SimulatedMachine(sockets=1, cores=1, threads=1), steps)
    for i, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
        assert offset % min(4096, 1 << max(6, (size - 1).bit_length())) == 0
        for j in alive_at[i]:
            assert offset + size <= offsets[j] or offsets[j] + sizes[j] <= offset


def test_freed_blocks_are_used_again() -> None:
    steps = [5000]
    for i in range(50):
        steps += [-1 - i, 5000 - i]
    assert len(set(arena_blocks(SimulatedMachine(sockets=1, cores=1, threads=1), steps))) == 1


# --- stopping ---


def run_child(code: str, **how: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )


def finish(child: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return child.communicate(timeout=60)
    finally:
        child.kill()


@pytest.mark.parametrize(
    ("shape", "threads"), [((1, 1, 1), 1), ((1, 1, 1), 3), ((2, 26, 2), 104), ((16, 64, 1), 1024)]
)
def test_ctrl_c_ends_a_run(shape: tuple[int, int, int], threads: int) -> None:
    child = run_child(f"""
        import time
        from doors.customers import customers_start
        from finegrain.machine.simulated import SimulatedMachine
        m = SimulatedMachine(sockets={shape[0]}, cores={shape[1]}, threads={shape[2]})
        customers_start(m, {threads}, 256, 10_000_000, 300_000)
        print("ready", flush=True)
        try:
            m.run()
        except KeyboardInterrupt:
            print("interrupted", m.time_ps > 0, flush=True)
            m.run(m.time_ps + 1000)  # it may go on
    """)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    out, err = finish(child)
    assert out == "interrupted True\n", err
    assert child.returncode == 0


def test_progress_is_called_and_may_stop_the_run() -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1)
    customers_start(m, 1, 1, 10_000_000, 300_000)
    seen: list[int] = []

    def progress(at: int) -> None:
        seen.append(at)
        if len(seen) == 3:
            raise StopIteration

    with pytest.raises(StopIteration):
        m.run(progress=progress)
    assert seen == sorted(seen)
    assert seen[0] > 0


def test_a_machine_gives_its_memory_back() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()

    def once() -> int:
        m = SimulatedMachine(memory=1 << 34)
        customers_start(m, 2000, 256, 10_000_000, 300_000, rounds=2)
        m.run()
        return resident()

    once()
    before = resident()
    most = max(once() for _ in range(5))
    assert most - before > 8 << 20  # a page of stack a thread
    assert resident() - before < 4 << 20


def test_threads_end_and_their_stacks_are_used_again() -> None:
    # Each spawns the next: 5,000 one after the other need two stacks.
    n = 5000
    scripts: list[Script] = [[("spawn", i + 1)] for i in range(n)]
    s = play(*scripts, [("charge", 1)], cores=1)
    assert len(s.trace()) == n + 1


def test_too_many_threads() -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1, costs=FREE)
    with pytest.raises(MemoryError):
        Station(m, 30_001, 1.0, 1.0)


def test_too_many_threads_from_within() -> None:
    with pytest.raises(KernelPanic, match="too many threads"):
        play([("spawn", 1)] * 30_001, [("park",)], checked=False)


def test_stop_threads() -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1, costs=FREE)
    customers_start(m, 3, 1, US, US)
    assert m.run(100 * US) is True
    m.stop_threads()
    assert m.run() is False
    assert m.threads == 0


def test_a_stack_overrun_says_so() -> None:
    child = run_child("""
        from doors.script import Scripts
        from finegrain.machine.simulated import SimulatedMachine
        m = SimulatedMachine(sockets=1, cores=2, threads=1)
        Scripts(m, [], [[("charge", 1)], [("recurse", 1_000_000)]])
        m.run()
    """)
    _, err = finish(child)
    assert child.returncode == -signal.SIGABRT
    assert "a simulated thread overran its stack of 61440 bytes" in err


def test_a_stack_is_deep_enough_for_the_kernel() -> None:
    s = play([("recurse", 80)])
    assert ends(s, "recurse") == [0]


def test_an_ordinary_crash_in_a_run_is_not_ours() -> None:
    child = run_child("""
        import ctypes
        from finegrain.machine.simulated import SimulatedMachine
        from doors.customers import customers_start
        m = SimulatedMachine(sockets=1, cores=2, threads=1)
        customers_start(m, 2, 1, 10_000_000, 300_000)
        m.run(progress=lambda at: ctypes.string_at(8))
    """)
    _, err = finish(child)
    assert child.returncode == -signal.SIGSEGV
    assert "overran" not in err


def test_machines_in_several_os_threads() -> None:
    def once(seed: int) -> tuple[Any, ...]:
        m = SimulatedMachine(sockets=1, cores=8, threads=1)
        customers_start(m, 8, 4, 1_000_000, 300_000, seed=seed)
        for i in range(5):
            m.run((i + 1) * 10**9)
        return read_profile(m), m.cpu_times()

    alone = [once(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(once, range(4))) == alone


def test_a_machine_that_panicked_stays_stopped() -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1, costs=FREE)
    Scripts(m, ["mtx"], [[("lock", 0)]], checked=False)
    for _ in range(2):
        with pytest.raises(KernelPanic, match="ended with locks held"):
            m.run()


def test_a_run_within_a_run_is_refused() -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1)
    customers_start(m, 1, 1, 10_000_000, 300_000)
    with pytest.raises(RuntimeError, match="running already"):
        m.run(progress=lambda at: m.run())
    assert read_names(m, m.time_ps)
