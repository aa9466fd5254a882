"""The mutex in 8 bytes: what of it is its own. What every kind does alike is in test_battery.py."""

from typing import Any

from doors.script import Scripts
from finegrain.lab.profile import read_profile
from finegrain.machine.costs import FREE, CostModel
from finegrain.machine.simulated import SimulatedMachine
from kernel.scripts import OWNED, US, Play, hold, later


def test_its_word_is_the_mutex_word(play: Play) -> None:
    script = [("word", 0), ("lock", 0), ("word", 0), ("unlock", 0), ("word", 0)]
    p = play(["mtx8"], script)
    assert [p.result(0, op) for op in (0, 2, 4)] == [0, OWNED, 0]


def test_thirty_two_neighbours_share_a_turnstile_chain() -> None:
    s = Scripts(SimulatedMachine(sockets=1, cores=1, costs=FREE), ["mtx8"] * 64, [], stride=8)
    turnstiles = [turnstile for turnstile, _ in s.chains()]
    assert [(t - turnstiles[0]) // 64 for t in turnstiles] == [0] * 32 + [1] * 32


def test_it_behaves_as_the_32_byte_mutex_does() -> None:
    """With each on a line of its own, times and counts are the same to the picosecond."""

    def run(kind: str) -> tuple[Any, ...]:
        m = SimulatedMachine(sockets=2, cores=2, threads=1, costs=CostModel())
        scripts = [later(i, hold(20 + i, lock=i % 2) * 3) for i in range(9)]
        s = Scripts(m, [kind, kind], scripts, stride=64)
        m.run()
        rows = [{k: v for k, v in row.items() if k != "class"} for row in read_profile(m)]
        return s.trace(), rows, m.counters(), m.cpu_times()

    assert run("mtx8") == run("mtx")


def test_eight_in_a_line_fight_for_it() -> None:
    """Threads that each have a lock of their own wait for nobody, but take longer when the locks share a line."""

    def time(stride: int) -> int:
        m = SimulatedMachine(sockets=1, cores=8, threads=1)
        Scripts(m, ["mtx8"] * 8, [hold(0, lock=i) * 50 for i in range(8)], stride=stride)
        m.run()
        (row,) = read_profile(m)
        assert row["contested"] == 0
        return m.time_ps - 3 * US

    assert time(8) > 2 * time(64)
