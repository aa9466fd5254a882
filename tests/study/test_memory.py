import os

import pytest

from finegrain.study import memory


def test_one_machine_a_core_unless_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(memory, "available", lambda: 1 << 40)
    assert memory.processes_that_fit(104) == 8
    monkeypatch.setattr(memory, "available", lambda: 8 << 30)
    assert memory.processes_that_fit(1024) == 3
    monkeypatch.setattr(memory, "available", lambda: 1 << 20)
    assert memory.processes_that_fit(1) == 1


def test_this_computer_says_how_much_it_has() -> None:
    assert 1 << 20 < memory.available() <= 1 << 62
