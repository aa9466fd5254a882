"""What is shown while something runs, on a terminal only."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

PERIOD_S = 0.1


def on_terminal() -> bool:
    """Say whether somebody is there to see progress: whether stderr is a terminal."""
    return Console(stderr=True).is_terminal


@contextmanager
def bars(
    names: Sequence[str], done: Callable[[], Sequence[float]], console: Console | None = None
) -> Iterator[None]:
    """Draw a bar a name on the terminal during the `with` block; `done()` gives the fraction of each."""
    stop = threading.Event()

    def draw() -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console or Console(stderr=True), transient=True) as progress:
            tasks = [progress.add_task(name, total=1.0) for name in names]
            while not stop.wait(PERIOD_S):
                for task, fraction in zip(tasks, done(), strict=True):
                    progress.update(task, completed=min(1.0, max(0.0, fraction)))

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def say(text: str) -> None:
    """Say what begins now, on a terminal."""
    console = Console(stderr=True)
    if console.is_terminal:
        console.print(f"finegrain: {text}", style="dim", highlight=False)
