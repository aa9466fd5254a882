"""Worker processes that end quietly: on Ctrl-C, on an error in one of them, and when they are done."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from joblib.externals.loky import get_reusable_executor

Call = tuple[Any, ...]  # a function and its arguments


@contextmanager
def workers(processes: int) -> Iterator[Callable[..., list[Any]]]:
    """Give a function that makes calls in `processes` processes and returns their results in order.

    Its second argument, if given, is called when the calls are to be abandoned, to make those under way end soon. An
    error in a call, and Ctrl-C, abandon the rest. The processes end with the `with` block. joblib.Parallel does not
    serve here: on Ctrl-C it kills its workers, with tracebacks of theirs on the terminal.
    """
    executor = get_reusable_executor(max_workers=processes, initializer=_ignore_interrupts)

    def run(calls: list[Call], cancel: Callable[[], None] = lambda: None) -> list[Any]:
        futures = [executor.submit(_call, *call) for call in calls]
        try:
            return [future.result() for future in futures]
        except BaseException:
            cancel()
            for future in futures:
                future.cancel()
            raise

    try:
        yield run
    except BaseException:
        executor.shutdown(wait=False)  # the user need not wait for what is going away
        raise
    executor.shutdown(wait=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Make a call that Ctrl-C ends; between calls the worker ignores it, the parent decides."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return function(*arguments)
    except KeyboardInterrupt:
        return None
    finally:
        _ignore_interrupts()
