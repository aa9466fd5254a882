"""The `finegrain` command: gathers the commands and turns user errors into one line and a status."""

import contextlib
import errno
import importlib
import os
import sys
import traceback
from typing import Any

import typer

from finegrain.errors import UserError
from finegrain.report.words import printable

# command name -> module under finegrain.cli that defines `app` (a Typer group) or `command` (a function)
COMMANDS: dict[str, str] = {
    "calibrate": "calibrate",
    "compare": "compare",
    "profile": "profile",
    "record": "record",
    "workload": "workload",
    "diff": "diff",
    "whatif": "whatif",
    "space": "space",
    "sweep": "sweep",
    "tradeoff": "tradeoff",
}

# Status 1 is a broken `--fail-if` rule and nothing else.
FAILED = 2
INTERRUPTED = 130  # what shells give a command that Ctrl-C ended; Typer turns Ctrl-C into this status

CLOSED_PIPE = 141  # what shells give a command that a closed pipe ended
_NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)

# Typer's usage error: its own class or, in older releases, click's.
UsageError: Any = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="finegrain",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def finegrain() -> None:
    """What a finer lock is worth, before you build it."""


def _register(arguments: list[str]) -> None:
    """Add the command that is asked for, or all of them for the help: what is not used is not loaded."""
    asked = [name for name in arguments[:1] if name in COMMANDS]
    for name in asked or COMMANDS:
        module_name = COMMANDS[name]
        module = importlib.import_module(f"finegrain.cli.{module_name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(module.command)


def _open_streams() -> None:
    """Give closed standard input and error something to stand for; UserError without standard output."""
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stderr is None:  # else print() would take standard output for it
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if sys.stdout is None:
        raise UserError("standard output is closed: the answer cannot be written")


def _drop(descriptor: int) -> None:
    """Let what was not written go: Python would try again at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _say(text: str) -> None:
    """Tell the user, if standard error can be written to."""
    with contextlib.suppress(OSError):
        print(f"finegrain: {text}", file=sys.stderr)


def _flush() -> None:
    """Write what is left to write, or let it go."""
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            _drop(descriptor)


def _run() -> object:
    """Run the command; gives its status."""
    try:
        _open_streams()
        _register(sys.argv[1:])
        status = app(standalone_mode=False)
        sys.stdout.flush()
        sys.stderr.flush()
    except UserError as error:
        _say(printable(str(error)))
        return error.exit_status
    except UsageError as error:
        _say(f"{error.format_message()} (see 'finegrain --help')")
        return FAILED
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # Typer makes the first into the second, and that of nothing else
        _drop(1)
        return CLOSED_PIPE
    except Exception as error:
        if not isinstance(error, OSError) or error.errno not in _NOT_WRITTEN:
            with contextlib.suppress(OSError):
                traceback.print_exc()  # a defect, which is no broken rule
            return FAILED
        _say(f"the answer cannot be written: {error.strerror}")
        return FAILED
    return status


def main() -> None:
    """Run the command line and exit with its status."""
    status = _run()
    if status == INTERRUPTED:
        _say("interrupted; nothing more is written")
    _flush()
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
