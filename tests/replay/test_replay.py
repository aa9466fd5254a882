import pytest
from doors.processes import processes
from hypothesis import given, settings
from hypothesis import strategies as st

from finegrain.design import parse_design
from finegrain.errors import UserError
from finegrain.lab.holds import superpage_holds
from finegrain.lab.profile import read_profile
from finegrain.machine.memory import default_segments, span
from finegrain.machine.simulated import SimulatedMachine
from finegrain.replay.replay import Replay
from finegrain.workload import program as pr
from finegrain.workload.compile import compile_program
from finegrain.workload.recording import load
from workload.synthetic import ANONYMOUS, BASE, FILE_PAGES, Process, build, programs

MS = 1_000_000
PS_PER_MS = 1_000_000_000


def make_machine(memory=6 << 30, **shape):
    shape = {"sockets": 2, "cores": 2, "threads": 1} | shape
    return SimulatedMachine(**shape, memory=span(default_segments(2, memory)), seed=1)


def make_replay(program, design="head", **options):
    return on(make_machine(), program, design, **options)


def on(machine, program, design="head", *, sockets=2, memory=6 << 30, **options):
    return Replay(machine, default_segments(sockets, memory), program, parse_design(design), **options)


def family():
    """A root that forks a child 2 ms after its start and then waits for it; the child execs and ends 4 ms later."""
    root, child = Process(-1), Process(0)
    root.exec()
    root.do(pr.MMAP, 0x10000000, 64 * 4096, ANONYMOUS)
    for i in range(64):
        root.touch(0x10000000 + i * 4096)
    root.do(pr.SLEEP, 2 * MS)
    root.do(pr.FORK, 1)
    root.do(pr.WAIT, 1)
    root.do(pr.SLEEP, 2 * MS)
    child.do(pr.SLEEP, 1 * MS)
    child.exec()
    child.touch(BASE + 25 * 4096)
    child.do(pr.SLEEP, 3 * MS)
    for process in (root, child):
        process.do(pr.EXIT)
    return build([root, child])


@settings(max_examples=40, deadline=None)
@given(
    programs(),
    st.sampled_from(["head", "superpage", "superpage+batch"]),
    st.integers(1, 4),
    st.sampled_from(["private", "shared"]),
    st.integers(0, 1000),
    st.lists(st.floats(0.01, 1.0), min_size=1, max_size=3),
)
def test_kernel_is_consistent_at_any_time_and_empty_at_the_end(program, design, jobs, images, seed, times):
    replay = make_replay(program, design, jobs=jobs, images=images, seed=seed)
    at = replay.prepare()
    assert replay.kernel.audit() == (0, "")
    for ms in times:
        at += round(ms * PS_PER_MS)
        replay.machine.run(until=at)
        assert replay.kernel.audit() == (0, "")
    assert replay.counts()["faults_bad"] == 0
    left = replay.drain()
    assert set(left.values()) == {0}, left


def outcome(program, seed, **options):
    replay = make_replay(program, jobs=3, seed=seed, **options)
    start = replay.prepare()
    replay.machine.run(until=start + 7 * PS_PER_MS)
    return start, replay.counts(), read_profile(replay.machine), processes(replay.machine)


def test_same_seed_same_run():
    assert outcome(family(), 5) == outcome(family(), 5)
    assert outcome(family(), 5) != outcome(family(), 6)


def test_builders_start_with_what_was_alive():
    program = family()
    replay = make_replay(program, jobs=6, seed=3)
    replay.prepare()
    found = {}
    for builder, number, parent in processes(replay.machine):
        if number >= 0:
            found.setdefault(builder, []).append((number, parent))
    # (k + u) / 6 of about 8 ms: the child lives from 2.2 ms to 6.4 ms
    assert found[0] == [(0, -1)]
    assert found[2] == [(0, -1), (1, 0)]
    assert found[5] == [(0, -1)]
    assert replay.counts()["faults_zero"] >= 6 * 64  # the root's pages were touched before the start
    assert set(replay.drain().values()) == {0}


def test_builders_go_on_from_where_they_start():
    program = family()
    replay = make_replay(program, jobs=6, seed=3)
    start = replay.prepare()
    replay.reset_counts()
    # a builder is 1.4 ms behind the next: in each such span of time each step is taken by about one builder
    replay.machine.run(until=start + 1400 * PS_PER_MS // 1000)
    assert 0 <= replay.counts()["forks"] - replay.counts()["exits"] / 2 <= 2
    replay.machine.run(until=start + 2800 * PS_PER_MS // 1000)
    assert 2 <= replay.counts()["exits"] <= 6
    assert replay.counts()["execs"] >= 1


def test_sleep_goes_on_from_where_it_was():
    """A builder that enters a sleep of 8 ms in its middle, or near its end, does not sleep it anew."""
    root = Process(-1)
    root.exec()
    root.do(pr.SLEEP, 8 * MS)
    root.do(pr.EXIT)
    replay = make_replay(build([root]), jobs=4, seed=1)
    start = replay.prepare()
    for quarter in range(1, 5):
        replay.machine.run(until=start + quarter * 1950 * PS_PER_MS // 1000)
        assert quarter - 1 <= replay.counts()["exits"] <= quarter
    assert set(replay.drain().values()) == {0}


def test_images_take_up_memory_once_or_for_each_builder():
    pages = {}
    for images in ("private", "shared"):
        replay = make_replay(family(), jobs=4, images=images)
        replay.prepare()
        pages[images] = replay.kernel.in_use()["pages"]
    reached = FILE_PAGES[0]  # nothing else is mapped
    assert pages["private"] - pages["shared"] == 3 * reached
    with pytest.raises(UserError, match="private and shared"):
        make_replay(family(), jobs=1, images="none")


def test_shared_images_share_pages():
    """With one image, two builders that only read map the same pages; with two they do not."""
    for images, objects in (("private", 2), ("shared", 1)):
        replay = make_replay(family(), jobs=2, images=images, stagger=False)
        replay.prepare()
        files = replay.kernel.in_use()["objects"]
        assert files == objects


def test_images_must_fit_in_memory():
    program = family()
    with pytest.raises(UserError, match=r"files of 1000 builders take 0.2 GiB.*fewer jobs"):
        on(make_machine(memory=64 << 20), program, memory=64 << 20, jobs=1000)


def test_every_builder_has_the_pages_that_it_reaches():
    root = Process(-1)
    root.exec()
    root.do(pr.MMAP, 0x10000000, 96 * 4096, 2)
    root.do(pr.SLEEP, 5 * MS)
    root.do(pr.EXIT)
    replay = on(make_machine(sockets=1), build([root]), sockets=1, jobs=8)
    replay.prepare()
    found = {}
    for superpage in range(3072):
        for (kind, file, builder), pages in superpage_holds(replay.machine, superpage).items():
            if kind == "file":
                found[file, builder] = found.get((file, builder), 0) + pages
    assert found == {(file, builder): pages for builder in range(8) for file, pages in ((0, 40), (1, 101))}


def test_children_that_write_the_same_pages_at_once():
    """Faults of several processes on the pages of one shadow chain get in each other's way."""
    root = Process(-1)
    root.exec()
    root.do(pr.MMAP, 0x10000000, 64 * 4096, ANONYMOUS)
    children = []
    for generation in range(2):
        for i in range(64):
            root.touch(0x10000000 + i * 4096)
        for number in range(1 + 5 * generation, 6 + 5 * generation):
            root.do(pr.FORK, number)
            children.append(Process(0))
            for i in range(64):
                children[-1].do(pr.TOUCH, 0x10000000 + (i * 11 + number) % 64 * 4096, 0, pr.TOUCH_WRITE, 0)
    root.do(pr.SLEEP, 2 * MS)
    for process in (root, *children):
        process.do(pr.EXIT)
    replay = make_replay(build([root, *children]), jobs=2, stagger=False)
    at = replay.prepare()
    for _ in range(40):
        at += PS_PER_MS // 20
        replay.machine.run(until=at)
        assert replay.kernel.audit() == (0, "")
    counts = replay.counts()
    assert counts["faults_bad"] == 0
    assert counts["faults_copy"] > 500
    assert set(replay.drain().values()) == {0}


def test_bundled_recording():
    """A few builders on a small machine: the real thing, checked as it runs and when it has ended."""
    replay = on(
        make_machine(cores=2, threads=2),
        compile_program(load("hello")),
        "superpage+batch",
        jobs=8,
    )
    start = replay.prepare()
    assert replay.kernel.audit() == (0, "")
    for ms in (3, 10, 20):
        replay.machine.run(until=start + ms * PS_PER_MS)
        assert replay.kernel.audit() == (0, "")
    counts = replay.counts()
    assert counts["faults_bad"] == 0
    assert (
        min(counts[name] for name in ("forks", "execs", "exits", "faults_fast", "faults_zero", "faults_copy"))
        > 0
    )
    assert set(replay.drain().values()) == {0}
