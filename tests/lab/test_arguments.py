"""What a lab says to arguments that cannot be, and to what the kernel's state does not allow."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from finegrain.lab import AddressSpaces, LockScripts, PhysicalMemory, Pmaps
from finegrain.lab.run import Lab
from finegrain.machine.errors import KernelPanic
from finegrain.machine.simulated import SimulatedMachine

MIB, PAGE = 1 << 20, 4096


def machine() -> SimulatedMachine:
    return SimulatedMachine(sockets=1, cores=2, threads=1, memory=64 * MIB)


def pmaps() -> Pmaps:
    lab = Pmaps(machine())
    lab.object(10)
    return lab


@pytest.mark.parametrize(
    ("operations", "error", "words"),
    [
        ([5], TypeError, r"an operation must be a tuple \(name, arguments...\), not 5"),
        (["enter"], TypeError, "an operation must be a tuple"),
        ([()], TypeError, "an operation must be a tuple"),
        ([(None,)], TypeError, "the name of an operation must be a string, not None"),
        ([("entre", 0)], LookupError, "no operation .entre.; there are access, activate, alloc"),
        ([("pinit",)], TypeError, "pinit !pmap: 0 arguments given, it takes 1"),
        ([("enter", 0, 0)], TypeError, "2 arguments given, it takes 4 to 6"),
        ([("pinit", 1024)], ValueError, "pinit: pmap must be the number of a pmap from 0 to 1023, not 1024"),
        ([("pinit", -1)], ValueError, "not -1"),
        ([("pinit", 1 << 200)], ValueError, "not a number of 201 bits"),
        ([("pinit", "0")], TypeError, "must be the number of a pmap from 0 to 1023, not '0'"),
        ([("pinit", 0.0)], TypeError, "not 0.0"),
        ([("alloc", 1, 0)], IndexError, "alloc: object: no object 1; there are 1"),
        ([("alloc", 0, 1 << 24)], ValueError, "index must be a page number below 16777216"),
        ([("free", 64 * MIB)], ValueError, "page must be a physical address below 0x4000000"),
        ([("free", 0)], ValueError, "page must lie in a memory segment; 0x0 lies in none"),
        ([("free", MIB + 5)], ValueError, "page must be a multiple of 4096"),
        ([("remove", 0, 1, PAGE)], ValueError, "start must be a multiple of 4096, not 1"),
        ([("remove", 0, 1 << 47, 1 << 47)], ValueError, "a virtual address up to 0x7ffffffff000"),
        ([("protect", 0, 0, PAGE, "rr")], ValueError, "prot must be letters of 'rwx', each once"),
        ([("protect", 0, 0, PAGE, 8)], ValueError, "letters of 'rwx' or their sum of 1, 2 and 4, not 8"),
        ([("user", -1)], ValueError, "a time from 0 to 10000000000000 ps, not -1"),
    ],
)
def test_arguments_that_cannot_be(operations: list[Any], error: type[Exception], words: str) -> None:
    lab = pmaps()
    for give in (lambda: lab.run(*operations), lambda: lab.start(operations)):
        with pytest.raises(error, match=words):
            give()
    assert lab.machine.threads == 0  # nothing was begun
    assert lab.do("pinit", 0) == 1


@pytest.mark.parametrize("operations", [None, 5, "pinit", b"pinit"])
def test_operations_that_are_no_list(operations: Any) -> None:
    with pytest.raises(TypeError, match="operations must be a list of tuples"):
        pmaps().start(operations)


def test_what_the_state_does_not_allow_is_refused_when_its_turn_comes() -> None:
    lab = pmaps()
    page = lab.do("alloc", 0, 0)
    with pytest.raises(
        ValueError, match=r"^operation 1, enter\(0, 0x1000, 0x\w+, 1, 0, 0\): the pmap is not made"
    ):
        lab.run(("pinit", 1), ("enter", 0, PAGE, page, "r"))
    assert lab.do("enter", 1, PAGE, page, "r") == 0  # what came before it was done
    number = lab.start([("extract", 1, PAGE), ("free", page), ("extract", 1, PAGE)])
    with pytest.raises(ValueError, match="the page is mapped"):
        lab.join()
    with pytest.raises(ValueError, match="the page is mapped"):
        lab.results(number)
    assert lab.partial_results(number) == [page]


def test_two_threads_do_not_pull_things_from_under_each_other() -> None:
    lab = pmaps()
    page = lab.run(("pinit", 0), ("alloc", 0, 0))[1]
    lab.start([("sleep", 1000), ("enter", 0, PAGE, page, "r")])
    lab.start([("release", 0)])
    with pytest.raises(ValueError, match=r"another thread is at work on it|the pmap is not made|not empty"):
        lab.join()


@pytest.mark.parametrize("make", [PhysicalMemory, Pmaps, AddressSpaces, lambda m: LockScripts(m, ["mtx"])])
def test_machines_that_will_not_do(make: Callable[[Any], Lab]) -> None:
    for other in (None, 5, "m"):
        with pytest.raises(TypeError):
            make(other)
    m = machine()
    make(m)
    with pytest.raises(
        ValueError, match="the machine has a kernel already: a lab makes its own, on a fresh machine"
    ):
        make(m)


@pytest.mark.parametrize("make", [PhysicalMemory, Pmaps, AddressSpaces])
def test_a_machine_without_memory(make: Callable[..., Lab]) -> None:
    with pytest.raises(ValueError, match="no memory: SimulatedMachine"):
        make(SimulatedMachine(sockets=1, cores=1, threads=1))


@pytest.mark.parametrize(
    ("segments", "error", "words"),
    [
        (5, TypeError, "segments are a list"),
        ("x", TypeError, "segments are a list"),
        ([5], TypeError, r"memory segment 0 must be \(start, end, domain\)"),
        ([(MIB, -1, 0)], ValueError, "memory segment 0: end must be an address up to"),
        ([(MIB, 1 << 70, 0)], ValueError, "memory segment 0: end must be an address up to"),
        ([(MIB, 2 * MIB, None)], TypeError, "memory segment 0: domain must be"),
        ([], ValueError, "no memory segment"),
    ],
)
def test_segments_that_cannot_be(segments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Pmaps(machine(), segments)


@pytest.mark.parametrize(
    ("design", "error", "words"),
    [
        ("nosuch", ValueError, "unknown layout 'nosuch'"),
        (None, TypeError, "design must be a spelling"),
        (5, TypeError, "design must be a spelling"),
    ],
)
def test_designs_that_cannot_be(design: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        AddressSpaces(machine(), design=design)


def test_a_lab_whose_kernel_has_stopped_says_so() -> None:
    locks = LockScripts(machine(), ["mtx", "mtx"])
    for one, other in ((0, 1), (1, 0)):
        locks.start([("lock", one), ("user", 10**9), ("lock", other), ("unlock", other), ("unlock", one)])
    with pytest.raises(KernelPanic, match="deadlock"):
        locks.join()
    for again in (
        locks.join,
        lambda: locks.run(("charge", 1)),
        lambda: locks.results(0),
        lambda: locks.start([]),
    ):
        with pytest.raises(KernelPanic, match="the kernel has stopped: deadlock"):
            again()


def test_a_lab_is_not_used_while_its_machine_runs() -> None:
    lab = pmaps()
    lab.start([("user", 10**12)])
    seen = []

    def inside(_: int) -> None:
        for use in (lambda: lab.run(("pinit", 0)), lambda: lab.ptes(0), lambda: Pmaps(lab.machine)):
            with pytest.raises(ValueError, match="the machine is running"):
                use()
        seen.append(1)
        raise StopIteration

    for _ in range(1000):  # progress is told now and then: long enough runs are
        lab.start([("user", 10**13)] * 1000)
        with suppress(StopIteration):
            lab.machine.run(progress=inside)
        if seen:
            break
    assert seen


def test_arguments_that_use_the_lab_themselves() -> None:
    """An argument's own code may do anything; what was checked before is checked again after it."""
    lab = pmaps()

    class Sly:
        def __index__(self) -> int:
            lab.run(("pinit", 7))
            return 7

    with pytest.raises(ValueError, match="the pmap is made already"):
        lab.do("pinit", Sly())

    class Segments:
        def __iter__(self) -> Any:
            Pmaps(m)
            return iter([(MIB, 2 * MIB, 0)])

    m = machine()
    with pytest.raises(ValueError, match="has a kernel already"):
        Pmaps(m, Segments())  # type: ignore[arg-type]


def test_the_bare_lab_cannot_be_used() -> None:
    bare = Lab(machine())  # type: ignore[call-arg]
    for use in (lambda: bare.start([]), lambda: bare.run(), bare.join, bare.trace, lambda: bare.results(0)):
        with pytest.raises((TypeError, NotImplementedError)):
            use()


def test_operations_say_what_they_take_and_do() -> None:
    signature, meaning = pmaps().operations()["enter"]
    assert signature == "pmap va page prot access=0 superpage=0"
    assert meaning.startswith("map a page")
