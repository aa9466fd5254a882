"""The simulated machine as a whole: shapes, determinism, identities, and how it stops."""

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

from doors.customers import customers_start
from doors.script import Scripts
from finegrain.lab.profile import read_charged, read_names, read_profile, reset_profile
from finegrain.machine.costs import FREE, CostModel
from finegrain.machine.errors import KernelPanic
from finegrain.machine.simulated import SimulatedMachine
from machine.plays import US, Script, check_times, finish, play, run_child


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
        costs = replace(CostModel(), tick=0)  # CPUs have their ticks in turn
        s = play(*scripts, costs=costs, locks=["mtx"] * 3, sockets=2, cores=4)
        m = s.machine
        times = m.cpu_times()
        sums = {key: sum(t[key] for t in times) for key in times[0]}
        return read_profile(m), read_charged(m), sums, m.time_ps

    one = total([0, 1, 2, 3, 4, 5, 6, 7])
    assert one[0][0]["contested"] > 40
    assert total([4, 1, 6, 3, 2, 5, 0, 7]) == one


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
    assert sum(row["acquisitions"] for row in rows) > 500


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


def test_stop_threads() -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1, costs=FREE)
    customers_start(m, 3, 1, US, US)
    assert m.run(100 * US) is True
    m.stop_threads()
    assert m.run() is False
    assert m.threads == 0


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
