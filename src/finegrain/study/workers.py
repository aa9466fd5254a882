"""Worker processes that end quietly: on Ctrl-C, on an error in one of them, and when they are done."""

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from enum import Enum
from itertools import count, islice
from typing import Any

from joblib.externals.loky import get_reusable_executor

Call = tuple[Any, ...]  # a function and its arguments
Arrived = Callable[[int, Any], None]


class _Ended(Enum):  # keeps its identity on the way from a worker
    INTERRUPTED = 1


_INTERRUPTED = _Ended.INTERRUPTED


@contextmanager
def workers(processes: int) -> Iterator[Callable[..., Generator[Any, None, None]]]:
    """Give a function that makes calls in `processes` processes and yields their results in order.

    It takes calls as there are processes for them, so that there may be more than will be wanted. Its second argument,
    if given, is called when calls under way are to be abandoned: on an error in a call, on Ctrl-C, and when the
    results are closed early; its third, with the number of the call and its result, as soon as there is one, in
    whatever order they come. The processes end with the `with` block. joblib.Parallel does not serve here: on Ctrl-C it
    kills its workers, with tracebacks of theirs on the terminal.
    """
    executor = get_reusable_executor(max_workers=processes, initializer=_ignore_interrupts)
    abandoned = False

    def run(
        calls: Iterable[Call], cancel: Callable[[], None] = lambda: None, arrived: Arrived = lambda *_: None
    ) -> Generator[Any, None, None]:
        nonlocal abandoned
        source = iter(calls)
        numbers = count()

        def submit(call: Call) -> Future[Any]:
            future: Future[Any] = executor.submit(_call, *call)
            number = next(numbers)
            future.add_done_callback(lambda done: _tell(arrived, number, done))
            return future

        # as many again wait in line, so that a process that is done finds work while the next result is late
        futures = deque(submit(call) for call in islice(source, 2 * processes))
        try:
            while futures:
                result = futures[0].result()
                if result is _INTERRUPTED:
                    raise KeyboardInterrupt
                futures.popleft()
                futures.extend(submit(call) for call in islice(source, 1))
                yield result
        finally:
            if futures:
                abandoned = True
                cancel()
                for future in futures:
                    future.cancel()

    try:
        yield run
    finally:
        executor.shutdown(wait=not abandoned)  # the user need not wait for what is going away


def _tell(arrived: Arrived, number: int, done: Future[Any]) -> None:
    if not done.cancelled() and done.exception() is None and done.result() is not _INTERRUPTED:
        arrived(number, done.result())


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Make a call that Ctrl-C ends; between calls the worker ignores it, the parent decides."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return function(*arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        _ignore_interrupts()
