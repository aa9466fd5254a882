import os
import time
from pathlib import Path

import pytest

from finegrain.study.workers import workers


def later(value: int, seconds: float) -> int:
    time.sleep(seconds)
    return value


def fail() -> None:
    raise ValueError("no")


def mark(path: str) -> int:
    Path(path).touch()
    return os.getpid()


def test_results_come_in_the_order_of_the_calls() -> None:
    with workers(2) as run:
        assert run([(later, 1, 0.2), (later, 2, 0.0), (later, 3, 0.0)]) == [1, 2, 3]


def test_an_error_cancels_the_rest_and_is_raised(tmp_path: Path) -> None:
    cancelled = []
    with pytest.raises(ValueError, match="no"), workers(1) as run:
        run([(fail,), *[(later, 0, 0.5)] * 4, (mark, str(tmp_path / "ran"))], lambda: cancelled.append(1))
    assert cancelled == [1]
    assert not (tmp_path / "ran").exists()


def test_calls_run_in_another_process(tmp_path: Path) -> None:
    with workers(1) as run:
        (pid,) = run([(mark, str(tmp_path / "ran"))])
    assert (tmp_path / "ran").exists()
    assert pid != os.getpid()
