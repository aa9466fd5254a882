"""Replays: the same seed, the start in mid-recording, the real thing."""

from doors.processes import processes
from finegrain.lab.profile import read_profile
from finegrain.workload import program as pr
from finegrain.workload.compile import compile_program
from finegrain.workload.recording import load
from replay.made import MS, PS_PER_MS, family, make_machine, make_replay, on
from workload.synthetic import Process, build


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
