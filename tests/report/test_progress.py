import io
import time

import pytest
from rich.console import Console

from finegrain.report import progress


def test_bars_are_drawn_while_something_runs() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    asked = []

    def done() -> list[float]:
        asked.append(1)
        return [0.25, 7.0]

    with progress.bars(["head", "superpage"], done, console):
        deadline = time.monotonic() + 20
        while (len(asked) < 3 or "25%" not in out.getvalue()) and time.monotonic() < deadline:
            time.sleep(0.02)
    page = out.getvalue()
    assert "head" in page
    assert "superpage" in page
    assert "25%" in page
    assert "100%" in page
    assert "700%" not in page


def test_an_error_ends_the_display() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    with pytest.raises(ValueError, match="no"), progress.bars(["a"], lambda: [0.0], console):
        raise ValueError("no")


def test_nothing_is_said_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    assert not progress.on_terminal()
    progress.say("reading")
    assert capfd.readouterr() == ("", "")
