"""Runs a command under `perf record` and makes a recording of it."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from finegrain.errors import UserError
from finegrain.workload.assemble import assemble
from finegrain.workload.perf_text import parse
from finegrain.workload.probes import Probes, name_probes
from finegrain.workload.recording import Recording
from finegrain.workload.syscalls import event_filter

_TRACEPOINTS = ["exceptions:page_fault_user", "exceptions:page_fault_kernel", "task:task_newtask"]
_SHOW = ["--show-mmap-events", "--show-task-events", "--show-switch-events", "--show-lost-events"]
_ADDR_NO_RANDOMIZE = 0x0040000  # linux/personality.h
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# perf's buffer for each CPU; where the kernel does not allow that much, perf's default is used
_BUFFER = "16M"


@dataclass(frozen=True)
class Method:
    """A way to record: its kind, the events for perf, the fields of them to print, and whether names are among them."""

    kind: str
    options: list[str]
    fields: str
    names: bool = False


def _methods(probes: Probes) -> list[Method]:
    """Return the ways to record, best first."""
    common = ["-c", "1", "-d", "--switch-events"]
    events = ["-e", ",".join(_TRACEPOINTS)]
    for event, entries in (("sys_enter", True), ("sys_exit", False)):
        events += ["-e", f"raw_syscalls:{event}", "--filter", event_filter(entries)]
    names = ["-e", ",".join(probes.events)]
    kinds = [
        Method("tracepoints", [*events, *names, *common], "pid,tid,time,event,trace", names=True),
        Method("tracepoints", [*events, *common], "pid,tid,time,event,trace"),
        Method("software", ["-e", "page-faults", *common], "pid,tid,time,event,addr"),
    ]
    return [
        Method(method.kind, method.options + buffer, method.fields, method.names)
        for method in kinds[0 if probes.events else 1 :]
        for buffer in (["-m", _BUFFER], [])
    ]


def _perf() -> str:
    """Return perf's path, or raise UserError."""
    perf = shutil.which("perf")
    if perf is None:
        raise UserError("perf is not installed; install it (Debian: linux-perf) and record again")
    return perf


# prints the descriptors that a program has when perf starts it: perf leaves some of its own open
_LIST_DESCRIPTORS = (
    "import os; print(*[n for n in os.listdir('/proc/self/fd') if os.path.lexists('/proc/self/fd/' + n)])"
)


def _choose(perf: str, folder: Path, probes: Probes) -> tuple[Method, set[int]]:
    """Return the best method that works here, and the descriptors that perf's child has.

    UserError with perf's reason when none works.
    """
    reason = ""
    for method in _methods(probes):
        trial = subprocess.run(
            [
                perf,
                "record",
                "-q",
                "-o",
                str(folder / "trial"),
                *method.options,
                "--",
                sys.executable,
                "-ISc",
                _LIST_DESCRIPTORS,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if trial.returncode == 0:
            return method, {int(word) for word in trial.stdout.split() if word.isdecimal()} | {0, 1, 2}
        lines = [line.strip() for line in trial.stderr.splitlines() if line.strip()]
        reason = next((line for line in lines if line != "Error:"), f"exit status {trial.returncode}")
    raise UserError(
        f"perf may not record here ({reason}); run as root, or set kernel.perf_event_paranoid to 2 or less"
    )


@contextmanager
def _fixed_addresses() -> Iterator[bool]:
    """Start processes without address space randomisation, where that is allowed; yield whether it is."""
    personality = ctypes.CDLL(None).personality
    personality.argtypes = [ctypes.c_ulong]
    before = personality(0xFFFFFFFF)  # asks only
    fixed = before >= 0 and personality(before | _ADDR_NO_RANDOMIZE) >= 0
    try:
        yield fixed
    finally:
        if fixed:
            personality(before)


def _run(arguments: list[str]) -> tuple[int, bool]:
    """Run perf and the command; return the exit status, and whether address randomisation was off.

    An interrupt stops the command, not the recording: perf gets it too, and writes what it has. When the recorder is
    killed perf ends, and the command with it: else they would keep the probes in use, which nobody could remove.
    """
    prctl = ctypes.CDLL(None).prctl
    with _fixed_addresses() as fixed:
        process = subprocess.Popen(
            arguments, preexec_fn=lambda: prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM))
        )
    interrupted = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = number
        process.send_signal(signal.SIGINT)

    handled = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in handled]
    try:
        status = process.wait()
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)
    if interrupted:
        return 128 + interrupted, fixed
    return (128 - status if status < 0 else status), fixed


@dataclass(frozen=True)
class Made:
    """A recording that was made, and why it has no file calls, if it has none."""

    recording: Recording
    why_no_files: str = ""


def record(command: list[str], output: Path, say: Callable[[str], None] = lambda text: None) -> Made:
    """Run `command` under perf and return its recording, whose `status` is the command's exit status.

    perf's raw data lies in a folder beside `output` meanwhile. `say` is told what is going on. Raises
    UserError when the command does not exist, or perf cannot record it.
    """
    perf = _perf()
    if not command or shutil.which(command[0]) is None:
        raise UserError(f"cannot run {command[0] if command else 'nothing'}: no such command")
    if output.is_dir() or not output.parent.is_dir():
        raise UserError(f"cannot write {output}: not a file in an existing directory")
    try:
        folder = tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}; choose another output file") from None
    with folder as name:
        data = Path(name) / "perf.data"
        with name_probes(["sh", command[0]]) as probes:
            method, descriptors = _choose(perf, Path(name), probes)
            say(f"recording with {method.kind}{' and names of files' if method.names else ''}")
            status, fixed = _run([perf, "record", "-q", "-o", str(data), *method.options, "--", *command])
        say("reading what perf recorded")
        script = [perf, "script", "-f", "-i", str(data), "--ns", "-F", method.fields, *_SHOW]
        with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
            assert reader.stdout is not None
            raw = parse(reader.stdout)
        if reader.returncode != 0 or not len(raw):
            raise UserError(f"perf recorded nothing of {command[0]} (perf's exit status {status})")
        say("sorting the records")
        made = assemble(raw, descriptors, os.getcwd(), method.names)
    version = subprocess.run([perf, "--version"], capture_output=True, text=True).stdout
    lacks = {"pipes": method.kind == "software", "file calls": not method.names}
    recording = Recording(
        kind=method.kind,
        command=command,
        status=status,
        events=made.events,
        files=made.files,
        paths=made.paths,
        lacks=[what for what, so in lacks.items() if so],
        processes=made.processes,
        duration_ns=made.duration_ns,
        lost=made.lost,
        cpus=os.cpu_count() or 0,
        fixed_addresses=fixed,
        perf=version.removeprefix("perf version").strip(),
        date=time.strftime("%Y-%m-%d"),
        name=str(output),
    )
    return Made(recording, "" if method.names else probes.why_not or "perf refuses the probes")
