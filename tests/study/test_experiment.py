import json
import re

import pytest

import finegrain
from finegrain.errors import UserError
from finegrain.study.result import PV_LIST, Comparison


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return run()


def run(**changes: object) -> Comparison:
    options: dict = {"cpus": 8, "jobs": 6, "seconds": 0.02, "warmup": 0.005, "seed": 3, "progress": False}
    return finegrain.compare(["head", "superpage+batch"], **(options | changes))


def without_clocks(comparison: Comparison) -> str:
    return re.sub(r'"wall_s": [0-9.e-]+', "", json.dumps(comparison.to_dict()))


def test_the_main_job_end_to_end(comparison: Comparison) -> None:
    assert [design.name for design in comparison.designs] == ["head", "superpage+batch"]
    for design in comparison.designs:
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
    assert comparison.design("superpage+batch").pv_wait["collision_us"] == 0


def test_identities_hold_in_the_result(comparison: Comparison) -> None:
    for design in comparison.designs:
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


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(comparison: Comparison) -> None:
    assert without_clocks(run(processes=1)) == without_clocks(comparison)
    assert without_clocks(run(seed=4)) != without_clocks(comparison)


def test_replications_use_seeds_of_their_own() -> None:
    two = run(replications=2)
    assert two.replications == 2
    assert two.designs[0].batches == 20


def test_shared_images_are_another_workload(comparison: Comparison) -> None:
    assert without_clocks(run(images="shared")) != without_clocks(comparison)


def test_it_shows_itself(comparison: Comparison) -> None:
    assert "(rw:pmap pv list)" in str(comparison)
    assert "<table>" in comparison._repr_html_()


def test_refusals() -> None:
    with pytest.raises(UserError, match="no design"):
        finegrain.compare([])
    with pytest.raises(UserError, match="absent"):
        run(workload="absent.fgrec")
