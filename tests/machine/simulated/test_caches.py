"""Lines age: what is in which cache, by how much has come in since it was used."""

from dataclasses import replace

import pytest

from finegrain.machine.costs import FREE, CostModel
from machine.plays import US, Script, play

# An L1 of 32 lines, an L2 of 64, a chip of 64 + 128 a core; every place has a price of its own, in ns.
SMALL = replace(
    FREE, frequency_ghz=1.0, l1_hit_cycles=1.0, l2_hit_cycles=5.0, llc_hit_cycles=20.0, dram_local=80.0,
    dram_remote=140.0, xfer_smt=7.0, xfer_socket=50.0, xfer_cross=130.0, share_socket=40.0, share_cross=115.0,
    l1_lines=32.0, l2_lines=64.0, llc_lines=128.0,
)  # fmt: skip


def pause(us: int = 3) -> Script:
    """Time between uses: a line's last use is known to a microsecond."""
    return [("charge", us * US)]


def costs_of(s: object, script: int, *ops: str) -> list[float]:
    rows = sorted(s.trace(), key=lambda row: row[2:4])  # type: ignore[attr-defined]
    return [(row[1] - row[0]) / 1000 for row in rows if row[2] == script and row[4] in ops]


@pytest.mark.parametrize(
    ("lines", "ns", "kind"),
    [
        (0, 1, "hit"),
        (31, 1, "hit"),
        (35, 5, "hit"),
        (63, 5, "hit"),
        (69, 20, "socket"),
        (191, 20, "socket"),
        (205, 80, "memory"),
        (10_000, 80, "memory"),
    ],
)
@pytest.mark.parametrize("op", ["read", "write"])
def test_an_own_line_goes_further_away_the_more_lines_come_in(
    lines: int, ns: int, kind: str, op: str
) -> None:
    script: Script = [("write", 0), *pause(), ("lines", lines), *pause(), (op, 0), *pause(), ("write", 0)]
    s = play(script, costs=SMALL, sockets=1, cores=1, threads=1)
    first, again, last = costs_of(s, 0, "read", "write")
    assert (first, again, last) == (80, ns, 1)  # and is at home again afterwards, and its own
    (counts,) = s.machine.line_accesses()
    assert counts[kind] >= (2 if kind in ("hit", "memory") else 1)


def test_accesses_that_the_simulation_sees_count_too() -> None:
    others: Script = [("write", i) for i in range(1, 37)]
    s = play(
        [("write", 0), *pause(), *others, *pause(), ("write", 0)], costs=SMALL, sockets=1, cores=1, threads=1
    )
    assert costs_of(s, 0, "write")[-1] == 5


@pytest.mark.parametrize(
    ("shape", "lines", "then", "ns", "kind"),
    [
        ((1, 2, 1), 0, "read", 50, "socket"),  # modified, from the owner's cache
        ((1, 2, 1), 69, "read", 20, "socket"),  # written back: from the last-level cache
        ((1, 2, 1), 69, "write", 20, "socket"),
        ((2, 1, 1), 0, "write", 130, "cross"),
        ((2, 1, 1), 69, "write", 115, "cross"),
        ((2, 1, 1), 205, "write", 80, "memory"),
        ((1, 1, 2), 0, "read", 7, "sibling"),
        ((1, 1, 2), 69, "read", 20, "socket"),
    ],
)
def test_a_line_that_left_its_owner_has_been_written_back(
    shape: tuple[int, int, int], lines: int, then: str, ns: int, kind: str
) -> None:
    owner: Script = [("write", 0), *pause(), ("lines", lines)]
    s = play(owner, [*pause(9), (then, 0), *pause(), ("write", 0)], costs=replace(SMALL, dram_remote=0.0),
             sockets=shape[0], cores=shape[1], threads=shape[2])  # fmt: skip
    first, again = costs_of(s, 1, "read", "write")[-2:]
    assert first == ns
    assert s.machine.line_accesses()[1][kind] >= 1
    # Whoever gets it from further away than another core's cache has the only copy, and may write it.
    assert again == (1 if then == "write" or lines else 7 if kind == "sibling" else 50)


def test_siblings_share_their_caches_and_cores_do_not() -> None:
    for threads, ns in ((2, 5), (1, 1)):
        s = play(
            [("write", 0), *pause(20), ("write", 0)],
            [*pause(5), ("lines", 40)],
            costs=SMALL, sockets=1, cores=3 - threads, threads=threads,
        )  # fmt: skip
        assert costs_of(s, 0, "write")[-1] == ns


def test_memory_lies_on_a_socket() -> None:
    s = play([("write", i) for i in range(64)], costs=SMALL, sockets=2, cores=1, threads=1)
    assert set(costs_of(s, 0, "write")) <= {80, 140}
    s = play([("write", 0)], costs=replace(SMALL, dram_remote=80.0), sockets=2, cores=1, threads=1)
    assert costs_of(s, 0, "write") == [80]


def test_user_code_brings_lines_in() -> None:
    costs = replace(SMALL, user_l1_fills=2.0, user_l2_fills=1.0, user_llc_fills=0.1)
    for us, ns in ((10, 1), (20, 5), (70, 20), (4000, 80)):
        s = play([("write", 0), *pause(), ("user", us * US), *pause(), ("write", 0)],
                 costs=costs, sockets=1, cores=1, threads=1)  # fmt: skip
        assert costs_of(s, 0, "write")[-1] == ns


def test_a_page_zeroed_is_in_the_caches_of_who_zeroed_it() -> None:
    costs = replace(SMALL, l1_lines=0.0, l2_lines=0.0, zero_4k=250.0)
    s = play(
        [("zero",), ("write", 0), ("read", 63)], [*pause(9), ("read", 30)], costs=costs, sockets=1, cores=2
    )
    assert costs_of(s, 0, "zero") == [250]
    assert costs_of(s, 0, "write", "read") == [1, 1]
    assert costs_of(s, 1, "read") == [50]
    s = play([("zero",), *pause(), ("lines", 69), *pause(), ("read", 0)], costs=SMALL, sockets=1, cores=1)
    assert costs_of(s, 0, "read") == [20]


def test_a_capacity_of_nothing_is_a_cache_that_holds_everything() -> None:
    off = replace(CostModel(), l1_lines=0.0, l2_lines=0.0, llc_lines=0.0)
    s = play([("write", 0), *pause(), ("lines", 10**9), ("user", 10**6 * US), ("write", 0)],
             costs=off, sockets=1, cores=1, threads=1)  # fmt: skip
    assert s.machine.line_accesses()[0]["hit"] == 1
    assert costs_of(s, 0, "write")[-1] == pytest.approx(4 / 2.7, abs=0.01)
