"""Build the lock layer with ThreadSanitizer and run its stress on real threads: what `make tsan` does.

    python tests/tsan.py [--seconds 5] [--threads 2,4,8] [--seed 1]

Only what the stress needs is built, in a directory of its own. Ends with status 0 when no race was seen and the stress
found nothing wrong, 66 at the first race, 2 when this machine has no ThreadSanitizer.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import types
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build-tsan"
COMPILED = ("src/finegrain/machine", "src/finegrain/kernel/locks")
DOOR = "tests/doors/threads.pyx"
PACKAGES = ("finegrain", "finegrain.machine", "finegrain.kernel", "finegrain.kernel.locks", "doors")
RACE = 66
NOT_HERE = 2


def not_here(why: str) -> NoReturn:
    print(f"tsan: {why}", file=sys.stderr)
    sys.exit(NOT_HERE)


def runtime(compiler: str) -> Path:
    """Where the compiler has its libtsan."""
    if shutil.which(compiler) is None:
        not_here(f"there is no {compiler}")
    asked = [compiler, "-print-file-name=libtsan.so"]
    library = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    if not library.is_absolute():
        not_here(f"{compiler} has no libtsan: install it to look for races")
    return library.resolve()


def build(compiler: str) -> None:
    """Compile what the stress needs."""
    tools = Path(sys.executable).parent
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "CC": compiler, "PATH": path, "CYTHON": str(tools / "cython")}
    if not (BUILD / "build.ninja").exists():
        options = ["-Dtest_doors=true", "-Db_sanitize=thread", "-Dbuildtype=debugoptimized"]
        setup = [str(tools / "meson"), "setup", *options, str(BUILD), str(ROOT)]
        done = subprocess.run(setup, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"tsan: meson failed\n{done.stdout}{done.stderr}")
    sources = [path.relative_to(ROOT) for folder in COMPILED for path in (ROOT / folder).glob("*.pyx")]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    targets = [str(source.with_suffix(suffix)) for source in (*sources, Path(DOOR))]
    subprocess.run(
        [str(tools / "ninja"), "-C", str(BUILD), "--quiet", *sorted(targets)], check=True, env=environment
    )


def launcher(library: Path) -> list[str]:
    """What to put before a command to run it under the library; some kernels lay memory out too randomly for it."""
    preload = ["env", f"LD_PRELOAD={library}"]
    for before in (preload, ["setarch", "-R", *preload]):
        if shutil.which(before[0]) is None:
            continue
        if not subprocess.run([*before, sys.executable, "-c", ""], capture_output=True).returncode:
            return before
    not_here("programs do not start under libtsan here")


def stress(threads: int, seconds: float, grace: float, seed: int) -> None:
    """Run the stress of what was built, in this process."""
    for name in PACKAGES:
        folder = name.replace(".", "/")
        module = types.ModuleType(name)
        base = ("src", folder) if name != "doors" else ("tests", folder)
        module.__path__ = [str(ROOT.joinpath(*base)), str(BUILD.joinpath(*base))]
        sys.modules[name] = module
    # No finder of an editable install: what it finds was built otherwise.
    sys.meta_path = [finder for finder in sys.meta_path if isinstance(finder, type)]
    from doors.threads import LockStress

    counts = LockStress(threads, seed=seed).run(seconds, grace=grace)
    print(f"{threads} threads, {seconds:g} s:", ", ".join(f"{n} {name}" for name, n in counts.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5, help="how long each stress runs")
    parser.add_argument("--threads", default="2,4,8", help="how many threads, a stress each")
    parser.add_argument("--grace", type=float, default=60, help="how long the threads may take to end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--built", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    numbers = [int(number) for number in chosen.threads.split(",")]
    if chosen.built:
        stress(numbers[0], chosen.seconds, chosen.grace, chosen.seed)
        return 0
    compiler = os.environ.get("CC", "gcc")
    library = runtime(compiler)
    build(compiler)
    before = launcher(library)
    # No suppressions: the interpreter is not compiled for this, so all that it sees is ours.
    options = f"halt_on_error=1 exitcode={RACE}"
    for number in numbers:
        one = ["--built", "--threads", str(number), "--seconds", str(chosen.seconds)]
        one += ["--grace", str(chosen.grace), "--seed", str(chosen.seed)]
        command = [*before, sys.executable, __file__, *one]
        status = subprocess.run(command, env={**os.environ, "TSAN_OPTIONS": options}).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
