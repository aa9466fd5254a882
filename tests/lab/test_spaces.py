"""Address spaces as a lab: what it refuses to do, and several threads. What they do is in tests/kernel/vm."""

import pytest

from finegrain.lab import AddressSpaces
from finegrain.machine.simulated import SimulatedMachine

MIB, PAGE = 1 << 20, 4096
HERE = 1 << 30


@pytest.mark.parametrize(
    ("operations", "why"),
    [
        ([("read", 1, 0)], "there is no address space at this place"),
        ([("new", 0)], "there is an address space at this place already"),
        ([("fork", 0, 0)], "another thread is at work on it|there is an address space at the child's place"),
        ([("exit", 0), ("exit", 0)], "there is no address space at this place"),
        ([("mmap", 0, HERE, HERE, "rw")], "the range is empty"),
        ([("mmap", 0, 0, 1 << 40, "rw")], "longer than 64 GiB"),
        ([("mmap", 0, HERE, HERE + PAGE, "r", 0)], "the file is not filled"),
        ([("fill",), ("fill",)], "the files are filled already"),
        ([("fill",), ("mmap", 0, HERE, HERE + PAGE, "r", 0), ("empty",)], "a space still maps a file"),
        ([("mmap", 0, HERE, HERE + PAGE, "rw", -1, 0, True, True)], "a stack is private"),
        ([("brk", 0, HERE, HERE)], "the heap would end where it does now"),
    ],
)
def test_what_spaces_do_not_allow(operations: list[tuple], why: str) -> None:
    spaces = AddressSpaces(SimulatedMachine(sockets=1, cores=1, threads=1, memory=64 * MIB), files=[4])
    spaces.do("new", 0)
    with pytest.raises(ValueError, match=why):
        spaces.run(*operations)
    assert spaces.audit() == ""


def test_files_that_do_not_fit() -> None:
    spaces = AddressSpaces(
        SimulatedMachine(sockets=1, cores=1, threads=1, memory=16 * MIB), files=[1000, 9000]
    )
    with pytest.raises(ValueError, match="the files do not fit in memory"):
        spaces.do("fill")
    assert spaces.in_use()["pages"] == 0
    assert spaces.audit() == ""


@pytest.mark.parametrize("design", ["head", "superpage+batch"])
def test_threads_fork_write_and_exit_at_once(design: str) -> None:
    m = SimulatedMachine(sockets=1, cores=4, threads=1, memory=64 * MIB)
    spaces = AddressSpaces(m, design=design)
    spaces.run(("new", 0), ("mmap", 0, HERE, HERE + 64 * PAGE, "rw"))
    spaces.run(*(("write", 0, HERE + i * PAGE, i) for i in range(64)))
    threads = []
    for child in range(1, 9):
        life = [("fork", 0, child)]
        for i in range(64):
            life += [("read", child, HERE + i * PAGE), ("write", child, HERE + i * PAGE, 100 * child)]
        threads.append(spaces.start([*life, ("exit", child)]))
    spaces.join()
    for thread in threads:
        assert spaces.results(thread)[1:-1:2] == list(range(64))
    assert spaces.audit() == ""
    assert spaces.run(*(("read", 0, HERE + i * PAGE) for i in range(64))) == list(range(64))
    spaces.do("exit", 0)
    assert set(spaces.in_use().values()) == {0}


def test_a_file_is_not_given_up_under_a_thread_that_maps_it() -> None:
    """One thread maps a file while another gives the files up: whoever comes second is refused, at any moment."""
    said = set()
    for moment in range(0, 4_000_000, 50_000):
        m = SimulatedMachine(sockets=1, cores=4, threads=1, memory=64 * MIB)
        spaces = AddressSpaces(m, files=[40])
        spaces.run(("new", 0), ("fill",))
        spaces.start([("charge", 1_000_000), ("mmap", 0, HERE, HERE + 40 * PAGE, "r", 0), ("read", 0, HERE)])
        spaces.start([("charge", moment), ("empty",)])
        with pytest.raises(ValueError, match=r"file|another thread") as refused:
            spaces.join()
        said.add(str(refused.value).partition("): ")[2].partition(";")[0])
        assert spaces.audit() == ""
    assert said == {"another thread is at work on it", "a space still maps a file", "the file is not filled"}
