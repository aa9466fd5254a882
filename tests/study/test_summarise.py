import pytest

from finegrain.study.result import PV_LIST, Holding, PVContent
from finegrain.study.summarise import summarise, widest
from make_result import make_measurement, make_task


def test_scaling_to_ninety_minutes_and_its_interval() -> None:
    result = summarise(make_task(seconds=1.0), [make_measurement(1000), make_measurement(1000)])
    lock = result.lock(PV_LIST)
    assert lock is not None
    assert lock.wait_us == 2000
    assert lock.wait_us_90min == pytest.approx(1000 * 5400)
    assert lock.wait_us_90min_ci95 == pytest.approx((5400e3, 5400e3))  # equal runs: no spread
    assert (lock.transfer_us_90min, lock.neighbour_us_90min) == pytest.approx((2 * 5400, 0.1 * 5400))
    (point,) = lock.points
    assert (point.line_transfers, point.neighbour_transfers) == (60, 6)
    assert (point.transfer_us, point.neighbour_us) == pytest.approx((4, 0.2))
    alone = summarise(make_task(seconds=1.0), [make_measurement(1000)])
    assert [lock.wait_us_90min_ci95 for lock in alone.locks] == [None, None, None]
    assert (alone.exits_per_s_ci95, alone.pv_ratio, alone.pv_ratio_ci95) == (None, 1, None)


def test_the_ratio_to_the_first_design_takes_runs_in_pairs() -> None:
    first = [make_measurement(1000), make_measurement(3000)]
    result = summarise(make_task(), [make_measurement(100), make_measurement(300)], first)
    assert result.pv_ratio == 10
    assert result.pv_ratio_ci95 == pytest.approx((10, 10))
    crossed = summarise(make_task(), [make_measurement(300), make_measurement(100)], first)
    assert crossed.pv_ratio == 10
    assert crossed.pv_ratio_ci95 is not None
    assert crossed.pv_ratio_ci95[1] > 100
    assert summarise(make_task(), [make_measurement(0)], first).pv_ratio is None


def test_the_widest_interval_is_of_the_worst_lock_or_of_a_ratio() -> None:
    steady, wild = [1000, 1000, 1000], [100, 300, 200]
    first = [make_measurement(wait, 10) for wait in steady]
    assert widest([first]) == 0
    assert widest([first, first]) == 0
    assert widest([first, [make_measurement(wait) for wait in wild]]) > 1
    # Another lock is the worst; the PV list's spread matters for ratios only.
    first = [make_measurement(wait, 9000) for wait in wild]
    assert widest([first]) == 0
    assert widest([first, [make_measurement(100) for _ in range(3)]]) > 1
    # Nothing to divide by: no ratio to be precise about.
    assert widest([first, [make_measurement(0) for _ in range(3)]]) == 0


def test_replications_add_counts_and_average_rates() -> None:
    result = summarise(make_task(), [make_measurement(1000), make_measurement(3000)])
    lock = result.lock(PV_LIST)
    assert lock is not None
    assert lock.acquisitions == 200
    assert lock.wait_us == 4000
    assert lock.wait_us_90min == pytest.approx(2000 * 5400)
    assert lock.wait_us_90min_ci95 is not None
    low, high = lock.wait_us_90min_ci95
    assert low < 2000 * 5400 < high
    assert result.exits_per_s == 50
    assert result.faults_per_s == 1000
    assert lock.wait_histogram_ns == [[64, 8], [128, 12]]


def test_locks_are_sorted_by_their_waits_and_keep_who_held_them() -> None:
    result = summarise(make_task(), [make_measurement(100, 450)])
    assert [lock.lock for lock in result.locks] == ["sx:vm map (user)", PV_LIST, "sleep mutex:never waited"]
    pv = result.lock(PV_LIST)
    assert pv is not None
    assert pv.held_by == [("(free)", 75.0), ("pmap_remove_pages", 25.0)]
    assert pv.held_by_points[1] == ("pmap_remove_pages", "pmap_enter", 25.0)
    assert sum(us for _, us in pv.held_by) == pv.wait_us
    assert pv.spin_us + pv.block_us == pytest.approx(pv.wait_us)
    assert pv.points[0].transfers["cross"] == 4
    assert pv.points[0].wait_median_ns == 128


def test_collision_and_sharing_make_up_the_wait() -> None:
    result = summarise(make_task(), [make_measurement(1000)])
    assert result.pv_wait == {"collision_us": 250.0, "sharing_us": 750.0}
    assert result.pv_superpages[0].physical == (7 * 2**21, 8 * 2**21)
    assert (result.pv_wait_by_content[0].kind, result.pv_wait_by_content[0].file) == ("file", "/usr/bin/cc1")
    assert result.pv_wait_by_content[0].sharing_us == 750.0
    assert sum(result.cpu_share.values()) == pytest.approx(1)


def test_copies_of_one_file_are_one_content() -> None:
    first, second = make_measurement(1000), make_measurement(3000)
    second.superpages[0]["index"] = 8
    second.superpage_holds = {8: [Holding("file", "/usr/bin/cc1", 2, 400)]}
    result = summarise(make_task(), [first, second])
    assert [superpage.holds[0].copies for superpage in result.pv_superpages] == [2, 3]
    assert result.pv_wait_by_content == [PVContent("file", "/usr/bin/cc1", 2, 1000.0, 3000.0)]


def test_a_superpage_that_is_free_by_the_end_is_a_content_of_its_own() -> None:
    measurement = make_measurement()
    measurement.superpage_holds = {7: []}
    (content,) = summarise(make_task(), [measurement]).pv_wait_by_content
    assert (content.kind, content.file) == ("free", None)


@pytest.mark.parametrize("replications", [1, 3])
def test_what_a_pv_lock_covers_is_as_the_kernel_says(replications: int) -> None:
    measurements = [make_measurement() for _ in range(replications)]
    for measurement in measurements:
        measurement.pv_locks[0] |= {"first_pa": 4096, "end_pa": 8192, "period": 1 << 30}
    (lock,) = summarise(make_task(), measurements).pv_locks
    assert (lock.physical, lock.period) == ((4096, 8192), 1 << 30)
    assert lock.acquisitions == 10 * replications
