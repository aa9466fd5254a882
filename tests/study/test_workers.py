import os
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from finegrain.study.workers import workers


def later(value: int, seconds: float) -> int:
    time.sleep(seconds)
    return value


def fail() -> None:
    raise ValueError("no")


def interrupt() -> None:
    raise KeyboardInterrupt


def mark(path: str) -> int:
    Path(path).touch()
    return os.getpid()


def test_results_come_in_the_order_of_the_calls() -> None:
    with workers(2) as run:
        assert list(run([(later, 1, 0.2), (later, 2, 0.0), (later, 3, 0.0)])) == [1, 2, 3]


def test_an_error_cancels_the_rest_and_is_raised(tmp_path: Path) -> None:
    cancelled = []
    with pytest.raises(ValueError, match="no"), workers(1) as run:
        list(
            run([(fail,), *[(later, 0, 0.5)] * 4, (mark, str(tmp_path / "ran"))], lambda: cancelled.append(1))
        )
    assert cancelled == [1]
    assert not (tmp_path / "ran").exists()


def test_calls_run_in_another_process(tmp_path: Path) -> None:
    with workers(1) as run:
        (pid,) = run([(mark, str(tmp_path / "ran"))])
    assert (tmp_path / "ran").exists()
    assert pid != os.getpid()


def test_results_may_be_closed_early_and_calls_are_taken_as_needed() -> None:
    taken, cancelled = [], []

    def calls() -> Iterator[tuple]:
        for number in count():
            taken.append(number)
            yield later, number, 0.0

    with workers(2) as run:
        results = run(calls(), lambda: cancelled.append(1))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        results.close()
    assert cancelled == [1]
    assert len(taken) == 7  # two processes: as many again in line, and one for each result


def test_ctrl_c_in_a_worker_is_one_here() -> None:
    with workers(1) as run, pytest.raises(KeyboardInterrupt):
        list(run([(interrupt,)]))
