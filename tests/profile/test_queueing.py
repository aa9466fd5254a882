import pytest

from finegrain.profile.queueing import closed, met, open_wait, partitioned, think_time

# N, r = Z/S, K, X S, W/S: the tables of M/M/1//N and of exact MVA for K equal locks
TABLE = [
    (1, 10, 1, 0.0909091, 0.0),
    (2, 1, 1, 0.8, 0.5),
    (8, 10, 1, 0.661682, 1.09041),
    (104, 10, 1, 1.0, 93.0),
    (104, 100, 1, 0.946757, 8.84872),
    (104, 1000, 1, 0.103884, 0.114543),
    (104, 0, 16, 13.983193, 6.4375),
    (104, 1, 256, 46.825781, 0.220999),
    (104, 10, 16, 8.583796, 1.115852),
    (104, 100, 256, 1.029662, 0.003999),
]


@pytest.mark.parametrize(("threads", "think", "locks", "rate", "wait"), TABLE)
@pytest.mark.parametrize("hold", [1.0, 7.5])
def test_closed_forms(threads: int, think: float, locks: int, rate: float, wait: float, hold: float) -> None:
    found_rate, found_wait = closed(threads, locks, hold, think * hold)
    assert found_rate * hold == pytest.approx(rate, rel=6e-6)
    assert found_wait / hold == pytest.approx(wait, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize(("threads", "think", "locks"), [(8, 10.0, 1), (104, 100.0, 1), (104, 3.0, 16)])
def test_thinking_is_found_from_the_rate(threads: int, think: float, locks: int) -> None:
    rate, _ = closed(threads, locks, 2.0, think)
    assert think_time(threads, locks, 2.0, rate) == pytest.approx(think, rel=1e-6)


def test_a_rate_that_cannot_be_has_no_thinking() -> None:
    assert think_time(4, 1, 2.0, 0.5) is None
    assert think_time(4, 1, 2.0, 0.49) is not None


def test_threads_without_end() -> None:
    assert open_wait(1, 2.0, 0.25) == 2.0
    assert open_wait(2, 2.0, 0.5) == 2.0
    assert open_wait(1, 2.0, 0.5) is None


def test_threads_that_keep_to_a_lock_of_their_own_never_wait() -> None:
    assert partitioned(8, 8, 1.0, 3.0) == pytest.approx((8 / 4, 0.0))
    assert partitioned(8, 100, 1.0, 3.0) == pytest.approx((8 / 4, 0.0))


def test_a_part_is_a_system_of_its_own_threads() -> None:
    rate, wait = closed(4, 1, 2.0, 10.0)
    assert partitioned(16, 4, 2.0, 10.0) == pytest.approx((4 * rate, wait))
    assert partitioned(16, 1, 2.0, 10.0) == pytest.approx(closed(16, 1, 2.0, 10.0))
    # 5 threads on 2 locks: three of them on one, two on the other; a wait counts as often as it is waited
    three, two = closed(3, 1, 2.0, 10.0), closed(2, 1, 2.0, 10.0)
    rate = three[0] + two[0]
    assert partitioned(5, 2, 2.0, 10.0) == pytest.approx(
        (rate, (three[0] * three[1] + two[0] * two[1]) / rate)
    )


# The chance of a wait in M/M/1//N with FIFO, exponential holds of 1.
@pytest.mark.parametrize(
    ("threads", "think", "chance"), [(8, 10, 0.590959), (104, 100, 0.941513), (104, 1000, 0.102885)]
)
def test_how_often_a_lock_is_found_held(threads: int, think: float, chance: float) -> None:
    assert met(threads, 1, 1.0, think) == pytest.approx(chance, rel=1e-5)
    assert met(threads, 1, 3.0, think * 3.0) == pytest.approx(chance, rel=1e-5)
