"""What designs cost, against the plan's arithmetic by hand and against tables that are really there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finegrain.design import parse_design
from finegrain.errors import UserError
from finegrain.machine.memory import Segment, default_segments
from finegrain.memorymap.read import MemoryMap
from finegrain.study.space import ANY_DOMAIN, DEFAULT_DESIGNS, space

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SERVER = MemoryMap("a server", "of a test", default_segments(2, 512 * GIB))


def test_a_server_of_512_gb() -> None:
    counted = space(SERVER)
    designs = {design.name: design for design in counted.designs}
    assert tuple(designs) == DEFAULT_DESIGNS
    assert (counted.superpages, counted.domains, counted.ram) == (512 * 512, [0, 1], 512 * GIB - MIB)
    head, sparse = designs["head"], designs["superpage"]
    # 24 bytes for each 2 MB up to 514 GB, and the arrays of 256
    assert head.populated == 514 * 512 * 24 + 8192 + 2048 + 24
    assert head.lost == 1024 * 24  # the hole from 2 to 4 GB
    assert sparse.populated == 512 * 512 * 64 + 64
    assert sparse.by_domain == {ANY_DOMAIN: 64, 0: 8 * MIB, 1: 8 * MIB}
    assert sparse.reserved == 514 * 512 * 64 + 64
    assert designs["superpage:lock=bit2"].populated == 512 * 512 * 32 + 32
    assert designs["superpage:table=pointers"].pointers == 514 * 512 * 8
    assert sparse.per_gb == pytest.approx(32768, rel=1e-4)
    assert sparse.share == pytest.approx(2**-15, rel=1e-4)


def test_what_the_two_ways_save() -> None:
    savings = {(s.way, s.before, s.after): s.saved for s in space(SERVER).savings}
    entries = 512 * 512
    assert savings["table", "superpage:table=pointers", "superpage"] == pytest.approx(
        514 * 512 * 8, abs=16 * KIB
    )
    assert savings["lock", "superpage", "superpage:lock=mtx8"] == entries * 24 + 24
    assert savings["lock", "superpage", "superpage:lock=bit2"] == entries * 32 + 32
    assert ("lock", "superpage:table=pointers", "superpage:table=pointers,lock=mtx8") in savings


def test_sums_by_domain_are_the_total() -> None:
    scattered = [Segment(n * 64 * GIB + 4096, n * 64 * GIB + (n + 1) * GIB, n) for n in range(15)]
    for design in space(MemoryMap("x", "x", scattered)).designs:
        assert sum(design.by_domain.values()) == design.populated
        assert 0 <= design.lost < design.populated
        assert set(design.by_domain) <= {ANY_DOMAIN, *range(15)}


def test_addresses_of_five_levels_are_counted() -> None:
    high = [Segment(MIB, GIB, 0), Segment(1 << 52, (1 << 52) + GIB, 1)]
    (counted,) = space(MemoryMap("x", "x", high), [parse_design("superpage")]).designs
    assert counted.reserved > 1 << 36
    assert counted.populated == 1024 * 64 + 64


def test_memory_that_no_plan_can_be_made_for_is_refused() -> None:
    with pytest.raises(UserError, match="x: memory segment"):
        space(MemoryMap("x", "x", [Segment(MIB, GIB, 0), Segment(MIB, GIB, 1)]))


# A child builds a kernel's tables and says how much resident memory that took, in bytes. Locks that are zero when they
# are free lie in memory that nobody has written to: the child writes what is there to every superpage's list head.
CHILD = """
import sys
from doors.pmap import Pmaps
from finegrain.machine.simulated import SimulatedMachine

segments = eval(sys.argv[2])
lab = Pmaps(SimulatedMachine(sockets=2, cores=1, threads=1, memory=segments[-1][1]), segments, design=sys.argv[1])
if "superpage" in sys.argv[1]:
    for start, end, _ in segments:
        lab.write_back(start, end)
print(lab.arena_resident())
"""


def resident(design: str, segments: list[Segment]) -> int:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, design, repr([tuple(segment) for segment in segments])],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    return int(done.stdout)


@pytest.mark.parametrize(
    "design",
    [
        "superpage",
        "superpage:table=pointers",
        "superpage:lock=mtx",
        "superpage:lock=mtx8",
        "superpage:table=pointers,lock=mtx8",
        "superpage:lock=bit2",
        "superpage:pad=128",
        "superpage:table=filled",
    ],
)
def test_the_figures_are_what_really_lies_in_memory(design: str) -> None:
    """All is resident that the plan says is populated, and nothing else.

    What a kernel needs besides (profiles, pmaps, page structs that its own page tables touch) is measured by a design
    of one hashed lock, whose list heads are zeroed memory that nobody has touched.
    """
    memory = MemoryMap("x", "x", [Segment(16 * MIB, 64 * GIB, 0), Segment(200 * GIB, 264 * GIB, 1)])
    (counted,) = space(memory, [parse_design(design)]).designs
    took = resident(design, memory.segments) - resident("hashed:locks=1", memory.segments)
    assert took == pytest.approx(counted.populated, rel=0.01, abs=32 * KIB)
