"""Free memory before a replay: whole, or mixed as on a machine in use."""

import pytest

from doors.processes import mapped_file_pages
from finegrain.errors import UserError
from finegrain.lab.profile import read_profile, reset_profile
from finegrain.study.result import PV_LIST
from finegrain.workload.compile import compile_program
from finegrain.workload.program import Program
from finegrain.workload.recording import load
from replay.made import PS_PER_MS, family, make_machine, make_replay, on


@pytest.fixture(scope="module")
def hello() -> Program:
    return compile_program(load("hello"))


def locks_taken_a_fault(program: Program, free_memory: str) -> float:
    replay = on(make_machine(cores=4), program, jobs=8, free_memory=free_memory)
    start = replay.prepare()
    reset_profile(replay.machine, start)
    replay.reset_counts()
    replay.machine.run(until=start + 50 * PS_PER_MS)
    rows = read_profile(replay.machine)
    taken = sum(row["acquisitions"] for row in rows if f"{row['class']}:{row['name']}" == PV_LIST)
    return taken / replay.counts()["faults"]


def test_neighbours_in_used_memory_come_from_many_superpages(hello: Program) -> None:
    assert locks_taken_a_fault(hello, "used") > 1.2 * locks_taken_a_fault(hello, "fresh")


def test_memory_is_only_borrowed_and_files_lie_where_they_lay(hello: Program) -> None:
    pages, files = {}, {}
    for memory in ("fresh", "used"):
        replay = make_replay(family(), jobs=4, free_memory=memory)
        replay.prepare()
        pages[memory] = replay.kernel.in_use()["pages"]
        files[memory] = mapped_file_pages(replay.machine)
        assert replay.kernel.audit() == (0, "")
        assert set(replay.drain().values()) == {0}
    assert pages["used"] == pages["fresh"]
    assert files["used"] == files["fresh"]


def test_a_machine_with_less_memory_than_that_is_mixed_as_far_as_it_goes() -> None:
    replay = on(make_machine(memory=32 << 20), family(), memory=32 << 20, jobs=14)
    replay.prepare()
    assert replay.kernel.audit() == (0, "")


def test_refusal() -> None:
    with pytest.raises(UserError, match="used and fresh"):
        make_replay(family(), jobs=1, free_memory="old")
