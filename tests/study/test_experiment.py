import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import pytest

from finegrain.errors import UserError
from finegrain.report.result import as_dict
from finegrain.study import experiment
from finegrain.study.defaults import DEFAULT_SECONDS, PRECISION_REPLICATIONS, default_seconds
from finegrain.study.experiment import compare
from finegrain.study.measure import Measurement
from finegrain.study.result import PV_LIST, Result


@pytest.fixture(scope="module")
def result() -> Result:
    return run()


@pytest.fixture(scope="module")
def other() -> Result:
    """The same with the next seed."""
    return run(seed=4)


def run(**changes: object) -> Result:
    options: dict = {"cpus": 8, "jobs": 6, "seconds": 0.02, "warmup": 0.005, "replications": 1, "seed": 3}
    return compare(["head", "superpage+batch"], **(options | changes))


def without_clocks(result: Result) -> str:
    return re.sub(r'"wall_s": [0-9.e-]+', "", json.dumps(as_dict(result)))


def test_the_main_job_end_to_end(result: Result) -> None:
    assert [design.name for design in result.designs] == ["head", "superpage+batch"]
    for design in result.designs:
        names = {lock.lock for lock in design.locks}
        assert names >= {
            PV_LIST,
            "sx:vm map (user)",
            "rw:vm object",
            "sleep mutex:vm page",
            "sleep mutex:VM reserv domain",
            "sleep mutex:pmap",
            "sleep mutex:pmap pv chunk list",
            "sleep mutex:vm page free queue",
            "sx:proctree",
        }
        assert design.exits_per_s > 0
        assert design.faults_per_s > 0
        assert sum(chunks * calls for chunks, calls in design.chunks_freed_histogram) > 0
        assert design.cpu_share["user"] > 0.2
        kinds = [count for key, count in design.counts.items() if key.startswith("faults_")]
        assert design.counts["faults"] == sum(kinds) > 0
    assert result.design("superpage+batch").pv_wait["collision_us"] == 0


def test_identities_hold_in_the_result(result: Result) -> None:
    for design in result.designs:
        for lock in design.locks:
            assert lock.spin_us + lock.block_us == pytest.approx(lock.wait_us)
            assert sum(count for _, count in lock.wait_histogram_ns) == lock.contested
            assert sum(count for _, count in lock.hold_histogram_ns) == lock.acquisitions
        assert sum(design.cpu_share.values()) == pytest.approx(1)
        # Every piece of a wait is charged to a holder, and is either collision or sharing.
        pv = design.lock(PV_LIST)
        assert pv is not None
        assert sum(us for _, us in pv.held_by) == pytest.approx(sum(design.pv_wait.values()))


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(result: Result, other: Result) -> None:
    assert without_clocks(run(processes=1)) == without_clocks(result)
    assert without_clocks(other) != without_clocks(result)


def test_replications_use_seeds_of_their_own(result: Result, other: Result) -> None:
    two = run(replications=2)
    assert (two.replications, two.ended, two.precision) == (2, "complete", None)
    assert (result.replications, result.precision_reached) == (1, None)
    assert two.precision_reached is not None
    assert two.precision_reached > 0
    for both, first, second in zip(two.designs, result.designs, other.designs, strict=True):
        assert first.counts != second.counts
        assert both.counts == {key: first.counts[key] + second.counts[key] for key in first.counts}
        for lock in both.locks:
            apart = [design.lock(lock.lock) for design in (first, second)]
            assert lock.acquisitions == sum(one.acquisitions for one in apart if one is not None)
            interval = lock.wait_us_90min_ci95
            assert interval is not None
            assert interval[0] <= lock.wait_us_90min <= interval[1]


def test_progress_is_told_by_name_and_ends_at_one() -> None:
    seen: list[tuple[list[str], list[float]]] = []

    @contextmanager
    def watch(names: Sequence[str], done: Callable[[], Sequence[float]]) -> Iterator[None]:
        assert list(done()) == [0.0, 0.0]
        yield
        seen.append((list(names), list(done())))

    run(progress=watch, seconds=0.001, warmup=0.0)
    assert seen == [(["head", "superpage+batch"], [1.0, 1.0])]


def test_a_precision_takes_as_many_runs_as_it_needs() -> None:
    easy = run(precision=1.0, seconds=0.08)
    assert (easy.replications, easy.ended) == (PRECISION_REPLICATIONS, "precise")
    harder = run(precision=0.6 * easy.precision_reached, seconds=0.04, processes=1)
    assert harder.ended == "precise"
    assert harder.precision_reached <= harder.precision
    assert harder.replications > PRECISION_REPLICATIONS
    # It is the first number of runs that does, and how many ran at once is no part of it.
    fixed = run(replications=harder.replications, seconds=0.04)
    assert [asdict(design) | {"wall_s": 0} for design in fixed.designs] == [
        asdict(design) | {"wall_s": 0} for design in harder.designs
    ]
    assert run(replications=harder.replications - 1, seconds=0.04).precision_reached > harder.precision


def test_a_precision_out_of_reach_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "PRECISION_LIMIT_S", 0.012)
    result = run(precision=0.001, seconds=0.002)
    assert (result.replications, result.ended) == (6, "limit")
    assert result.precision_reached > 0.001


def test_an_interrupted_precision_keeps_what_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def widest(designs: list[list[Measurement]]) -> float:
        calls.append(len(designs[0]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return 0.5

    monkeypatch.setattr(experiment, "widest", widest)
    result = run(precision=0.01, seconds=0.002)
    assert (result.replications, result.ended) == (4, "interrupted")
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        run(replications=6, seconds=0.002)


def test_shared_images_are_another_workload(result: Result) -> None:
    assert without_clocks(run(images="shared")) != without_clocks(result)


def test_refusals() -> None:
    for precision in (0.0, -0.1, 1.5, float("nan")):
        with pytest.raises(UserError, match="precision"):
            run(precision=precision)
    with pytest.raises(UserError, match="used and fresh"):
        run(free_memory="old")
    with pytest.raises(UserError, match="no design"):
        compare([])
    with pytest.raises(UserError, match="absent"):
        run(workload="absent.fgrec")


def test_more_cpus_are_measured_for_as_many_cpu_seconds() -> None:
    assert default_seconds(16) == default_seconds(104) == DEFAULT_SECONDS
    assert default_seconds(1024) * 1024 == pytest.approx(DEFAULT_SECONDS * 104, rel=0.03)
