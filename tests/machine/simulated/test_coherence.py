"""Cache lines: where they come from and what that costs."""

from dataclasses import replace

import pytest

from doors.customers import customers_start
from finegrain.lab.profile import read_profile
from finegrain.machine.costs import FREE, CostModel
from finegrain.machine.simulated import SimulatedMachine
from machine.plays import US, Script, play

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
