import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from finegrain.errors import UserError
from finegrain.report.result import as_dict
from finegrain.study.experiment import compare
from finegrain.study.result import PV_LIST, Result


@pytest.fixture(scope="module")
def result() -> Result:
    return run()


@pytest.fixture(scope="module")
def other() -> Result:
    """The same with the next seed."""
    return run(seed=4)


def run(**changes: object) -> Result:
    options: dict = {"cpus": 8, "jobs": 6, "seconds": 0.02, "warmup": 0.005, "seed": 3}
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
            low, high = lock.wait_us_90min_ci95
            assert low <= lock.wait_us_90min <= high
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
    assert two.replications == 2
    for both, first, second in zip(two.designs, result.designs, other.designs, strict=True):
        assert first.counts != second.counts
        assert both.counts == {key: first.counts[key] + second.counts[key] for key in first.counts}
        for lock in both.locks:
            apart = [design.lock(lock.lock) for design in (first, second)]
            assert lock.acquisitions == sum(one.acquisitions for one in apart if one is not None)
        assert both.batches == first.batches + second.batches


def test_progress_is_told_by_name_and_ends_at_one() -> None:
    seen: list[tuple[list[str], list[float]]] = []

    @contextmanager
    def watch(names: Sequence[str], done: Callable[[], Sequence[float]]) -> Iterator[None]:
        assert list(done()) == [0.0, 0.0]
        yield
        seen.append((list(names), list(done())))

    run(progress=watch, seconds=0.001, warmup=0.0)
    assert seen == [(["head", "superpage+batch"], [1.0, 1.0])]


def test_shared_images_are_another_workload(result: Result) -> None:
    assert without_clocks(run(images="shared")) != without_clocks(result)


def test_refusals() -> None:
    with pytest.raises(UserError, match="no design"):
        compare([])
    with pytest.raises(UserError, match="absent"):
        run(workload="absent.fgrec")
