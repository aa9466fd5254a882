"""The `finegrain` command: gathers the commands and turns user errors into one line and a status."""

import importlib
import sys
from typing import Any

import typer

from finegrain.errors import UserError
from finegrain.report.words import printable

# command name -> module under finegrain.cli that defines `app` (a Typer group) or `command` (a function)
COMMANDS: dict[str, str] = {
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

INTERRUPTED = 130  # what shells give a command that Ctrl-C ended; Typer turns Ctrl-C into this status

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


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        _register(sys.argv[1:])
        status = app(standalone_mode=False)
    except UserError as error:
        print(f"finegrain: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_status)
    except UsageError as error:
        print(f"finegrain: {error.format_message()} (see 'finegrain --help')", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:
        sys.exit(141)
    if status == INTERRUPTED:
        print("finegrain: interrupted; nothing more is written", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
