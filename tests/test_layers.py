"""Who may import whom: reads every import and cimport under src/finegrain and holds it against a table.

A layer is the longest prefix of a module's name in RULES, and a row says which other layers it may import; its own
modules it may import always, and what is OPEN everybody. A folder of kernel code has a face: other code cimports names
from `finegrain.kernel.locks`, never from a module in it.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "finegrain"
SOURCE = Path(__file__).parent.parent / "src" / PACKAGE
SUFFIXES = (".py", ".pyx", ".pxd", ".pyi")

OPEN = ("errors", "design", "files", "lines", "options")
KERNEL_SEES = ("machine.seam", "machine.thread")  # of the machine, in kernel code
_LOCKS, _PHYS, _PMAP, _VM, _PROC = (f"kernel.{name}" for name in ("locks", "phys", "pmap", "vm", "proc"))
_KERNEL = (_LOCKS, _PHYS, _PMAP, _VM, "kernel.vfs", _PROC, "kernel.boot")
_TYPES = ("kernel.types", "kernel.list")
_MACHINES = ("machine.simulated", "machine.threads", "machine.explore")

RULES: dict[str, tuple[str, ...]] = {
    # the package's top level, where results and reports meet
    "": ("design", "options", "machine", "study", "report"),
    "errors": (),
    "design": (),
    "files": (),
    "lines": (),
    "options": (),
    "machine": (),
    "memorymap": ("machine",),
    "machine.seam": (
        "machine.thread",
        "machine.simulated",
    ),  # its inline calls: simulated/coherence.pxd alone
    "machine.thread": (),
    "machine.simulated": ("machine",),
    "machine.threads": ("machine",),
    "machine.explore": ("machine",),
    "kernel": (),
    "kernel.list": KERNEL_SEES,
    _LOCKS: ("kernel.list", *KERNEL_SEES),
    "kernel.types": ("kernel.list", *KERNEL_SEES, _LOCKS),  # structs of all layers, with the locks in them
    _PHYS: (*_TYPES, *KERNEL_SEES, _LOCKS),
    _PMAP: (*_TYPES, *KERNEL_SEES, _LOCKS, _PHYS),
    _VM: (*_TYPES, *KERNEL_SEES, _LOCKS, _PHYS, _PMAP),
    "kernel.vfs": (*_TYPES, *KERNEL_SEES, _LOCKS, _PHYS, _PMAP, _VM),
    _PROC: (*_TYPES, *KERNEL_SEES, _LOCKS, _PHYS, _PMAP, _VM, "kernel.vfs"),
    "kernel.boot": (*_TYPES, *KERNEL_SEES, _LOCKS, _PHYS, _PMAP, _VM, "kernel.vfs", _PROC),
    "workload": (),
    "replay": ("workload", "machine", *_MACHINES, *_TYPES, *_KERNEL),
    "lab": ("machine", *_MACHINES, *_TYPES, *_KERNEL),
    "profile": (),
    "study": ("workload", "replay", "lab", "machine", "memorymap", *_MACHINES),
    "report": ("study", "profile", "workload", "machine", "memorymap"),
    "cli": ("", "study", "report", "profile", "workload", "replay", "lab", "machine", "memorymap"),
}
FACES = _KERNEL[:-1]

# Packages of others that some layers do without.
FORBIDDEN = {
    "profile": ("rich", "typer"),
    "memorymap": ("rich", "typer"),
    "study": ("rich", "typer"),
    "workload": ("rich", "typer"),
    "replay": ("rich", "typer"),
    "report": ("typer",),
}


@dataclass(frozen=True)
class Edge:
    """An import: of `name` from `module`, or of `module` itself."""

    line: int
    module: str
    name: str | None
    cimport: bool = False

    @property
    def full(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


_FROM = re.compile(r"^\s*from\s+(\.*[\w.]*)\s+(c?)import\s+(.+)$")
_PLAIN = re.compile(r"^\s*(c?)import\s+(.+)$")
_STRING = re.compile(
    r'"""(?:.|\n)*?"""|\'\'\'(?:.|\n)*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*'
)


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines of Cython with strings and comments blanked and lines in brackets or with a backslash joined."""
    text = _STRING.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    held, first, depth = "", 0, 0
    for number, line in enumerate(text.split("\n"), 1):
        first = first or number
        depth += line.count("(") + line.count("[") + line.count("{")
        depth -= line.count(")") + line.count("]") + line.count("}")
        held += line.rstrip().removesuffix("\\") + " "
        if depth > 0 or line.rstrip().endswith("\\"):
            continue
        for part in held.split(";"):
            yield first, part
        held, first = "", 0


def absolute(dotted: str, module: str, is_package: bool) -> str:
    """The full name of what follows `from` in a module."""
    dots = len(dotted) - len(dotted.lstrip("."))
    if not dots:
        return dotted
    parts = module.split(".")
    base = parts[: len(parts) - dots + is_package]
    return ".".join([*base, *([dotted[dots:]] if dotted[dots:] else [])])


def _of_python(text: str, module: str, is_package: bool) -> Iterator[Edge]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Edge(node.lineno, alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            base = absolute("." * node.level + (node.module or ""), module, is_package)
            for alias in node.names:
                yield Edge(node.lineno, base, alias.name)


def _of_cython(text: str, module: str, is_package: bool) -> Iterator[Edge]:
    for line, code in logical_lines(text):
        if match := _FROM.match(code):
            base = absolute(match[1], module, is_package)
            names = match[3].strip().removeprefix("(").removesuffix(")")
            for name in names.split(","):
                if name.strip():
                    yield Edge(line, base, name.split()[0], bool(match[2]))
        elif match := _PLAIN.match(code):
            for name in match[2].split(","):
                if name.strip():
                    yield Edge(line, name.split()[0], None, bool(match[1]))


def imports(text: str, path: Path) -> Iterator[Edge]:
    """What the text of `path` (below the package) imports or cimports, wherever in it."""
    is_package = path.stem == "__init__"
    parts = path.parent.parts if is_package else (*path.parent.parts, path.stem)
    module = ".".join((PACKAGE, *parts))
    return (_of_python if path.suffix in (".py", ".pyi") else _of_cython)(text, module, is_package)


def layer_of(name: str) -> str:
    """The layer of a name below the package: the longest row of the table that it lies in."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if (row := ".".join(parts[:length])) in RULES or row in KERNEL_SEES:
            return row
    return ""


def wrong(text: str, path: Path) -> list[str]:
    """The imports in the text of `path` that the tables do not allow."""
    own = ".".join(path.with_suffix("").parts).removesuffix("__init__").rstrip(".")
    layer = layer_of(own)
    allowed = (layer, *OPEN, *RULES[layer])
    found = []
    for edge in imports(text, path):
        top, _, below = edge.full.partition(".")
        where = f"{path}:{edge.line}: {layer or 'the top level'} may not import {edge.full}"
        target = layer_of(below)
        if top != PACKAGE:
            if top in FORBIDDEN.get(layer, ()):
                found.append(where)
        elif target not in allowed and not (target in KERNEL_SEES and "machine" in allowed):
            found.append(where)
        elif edge.cimport and target in FACES and target != layer and not through_face(edge, target):
            found.append(f"{where}: only the face of {target}")
    return found


def through_face(edge: Edge, face: str) -> bool:
    """Does a cimport name the folder itself, or something that its face gives?

    A name of the face comes before a module of the folder: mtx.pxd has a struct mtx.
    """
    if edge.full == f"{PACKAGE}.{face}":
        return True
    folder = SOURCE.joinpath(*face.split("."))
    if edge.module != f"{PACKAGE}.{face}":
        return False
    shown = folder / "__init__.pxd"
    given = imports(shown.read_text(encoding="utf-8"), shown.relative_to(SOURCE)) if shown.exists() else ()
    return edge.name in {one.name for one in given} or not any(
        (folder / f"{edge.name}{suffix}").exists() for suffix in SUFFIXES
    )


def checked() -> list[Path]:
    """The files that are held against the table, below the package."""
    files = sorted(path for path in SOURCE.rglob("*") if path.suffix in SUFFIXES)
    return [path.relative_to(SOURCE) for path in files]


def test_every_import_is_one_that_the_table_allows() -> None:
    files = checked()
    assert len(files) > 60
    found = [line for path in files for line in wrong((SOURCE / path).read_text(encoding="utf-8"), path)]
    assert not found, "\n" + "\n".join(found)


def test_every_layer_is_in_the_table() -> None:
    tops = {path.parts[0].partition(".")[0] for path in checked()} - {"__init__"}
    assert tops <= set(RULES)
    for rows in RULES.values():
        assert set(rows) <= {*RULES, *KERNEL_SEES}


@pytest.mark.parametrize(
    ("path", "text", "bad"),
    [
        # reports
        ("study/a.py", "from finegrain.report.table import Table", ["finegrain.report.table.Table"]),
        ("study/a.py", "def f():\n    from finegrain import report", ["finegrain.report"]),
        (
            "study/a.py",
            "if TYPE_CHECKING:\n    import finegrain.report.words as w",
            ["finegrain.report.words"],
        ),
        ("study/a.py", "import os, finegrain.report", ["finegrain.report"]),
        (
            "study/a.py",
            "from ..report import table, words",
            ["finegrain.report.table", "finegrain.report.words"],
        ),
        ("study/__init__.py", "from ..report import table", ["finegrain.report.table"]),
        ("study/a.py", "from ..replay import run\nfrom . import result\nfrom .result import Result", []),
        ("study/a.py", "import rich.console", ["rich.console"]),
        ("profile/a.py", "from rich import table", ["rich.table"]),
        ("profile/readers/a.py", "from finegrain.report import words", ["finegrain.report.words"]),
        ("profile/readers/a.py", "from ...report import words", ["finegrain.report.words"]),
        (
            "profile/readers/a.py",
            "from .base import x\nfrom ..table import y\nfrom finegrain.errors import z",
            [],
        ),
        ("profile/a.py", "import finegrain.study.result", ["finegrain.study.result"]),
        ("profile/a.py", "from finegrain import compare", ["finegrain.compare"]),
        ("workload/a.py", "from finegrain.kernel.boot import x", ["finegrain.kernel.boot.x"]),
        ("workload/a.py", "from finegrain.machine.shape import Shape", ["finegrain.machine.shape.Shape"]),
        ("report/a.py", "from finegrain.cli import main", ["finegrain.cli.main"]),
        ("report/a.py", "from finegrain.study.result import Result\nimport rich", []),
        ("__init__.py", "from finegrain.report import result\nfrom finegrain.design import Design", []),
        ("__init__.py", "from .cli import main", ["finegrain.cli.main"]),
        ("errors.py", "from finegrain.study import result", ["finegrain.study.result"]),
        (
            "cli/a.py",
            "import finegrain\nfrom finegrain.report import diff\nimport finegrain.study.experiment",
            [],
        ),
        ("cli/a.py", "from finegrain.kernel.boot import x", ["finegrain.kernel.boot.x"]),
        # the machine
        (
            "machine/simulated/a.pyx",
            "from finegrain.machine.threads cimport x",
            ["finegrain.machine.threads.x"],
        ),
        ("machine/threads/a.pyx", "cimport finegrain.machine.simulated", ["finegrain.machine.simulated"]),
        ("machine/threads/a.pyx", "from finegrain.machine.seam cimport x\nfrom .b cimport y", []),
        ("machine/a.pyx", "from finegrain.kernel.types cimport x", ["finegrain.kernel.types.x"]),
        ("machine/a.pyx", "from finegrain.machine.simulated cimport x", ["finegrain.machine.simulated.x"]),
        # kernel code
        ("kernel/locks/a.pxd", "from finegrain.machine.seam cimport charge\nfrom ..list cimport x", []),
        ("kernel/locks/a.pxd", "from ..types cimport x", ["finegrain.kernel.types.x"]),
        ("kernel/locks/a.pxd", "from finegrain.machine.thread cimport thread", []),
        ("kernel/locks/a.pxd", "from finegrain.machine.machine cimport x", ["finegrain.machine.machine.x"]),
        ("kernel/locks/a.pyx", "from finegrain.machine cimport simulated", ["finegrain.machine.simulated"]),
        ("kernel/locks/a.pyx", "from finegrain.kernel.phys cimport x", ["finegrain.kernel.phys.x"]),
        ("kernel/phys/a.pyx", "from finegrain.kernel.locks cimport mtx_lock", []),
        (
            "kernel/phys/a.pyx",
            "from finegrain.kernel.locks.b cimport mtx_lock",
            ["finegrain.kernel.locks.b.mtx_lock"],
        ),
        ("kernel/phys/a.pyx", "cimport finegrain.kernel.locks.b as b", ["finegrain.kernel.locks.b"]),
        ("kernel/phys/a.pyx", "from finegrain.kernel cimport locks", []),
        ("kernel/phys/a.pyx", "cimport libc.math, finegrain.kernel.pmap", ["finegrain.kernel.pmap"]),
        ("kernel/phys/a.pyx", "from finegrain.kernel.phys.b cimport x\nfrom .c cimport y", []),
        (
            "kernel/pmap/a.pyx",
            "from finegrain.kernel.vm cimport (\n    x,  # a ) in a comment\n    y,\n)",
            ["finegrain.kernel.vm.x", "finegrain.kernel.vm.y"],
        ),
        ("kernel/pmap/a.pyx", "from finegrain.kernel.vm cimport \\\n    x", ["finegrain.kernel.vm.x"]),
        ("kernel/vm/a.pyx", "x = 1; from finegrain.kernel.proc cimport y", ["finegrain.kernel.proc.y"]),
        (
            "kernel/vm/a.pyx",
            "cdef int f():\n    from finegrain.study import result",
            ["finegrain.study.result"],
        ),
        ("kernel/vm/a.pyx", "# from finegrain.kernel.proc cimport y\ns = 'import finegrain.cli'", []),
        ("kernel/vm/a.pyx", '"""\nfrom finegrain.kernel.proc cimport y\n"""', []),
        ("kernel/proc/a.pyx", "from finegrain.kernel.vm cimport x\nfrom finegrain.kernel.vfs cimport y", []),
        ("kernel/proc/a.pyx", "from finegrain.kernel.boot cimport x", ["finegrain.kernel.boot.x"]),
        (
            "kernel/boot.pyx",
            "from finegrain.kernel.proc cimport x\nfrom finegrain.kernel.locks cimport y",
            [],
        ),
        ("kernel/boot.pyx", "from finegrain.workload.program import x", ["finegrain.workload.program.x"]),
        ("kernel/types.pxd", "from finegrain.kernel.locks cimport x", []),
        ("kernel/types.pxd", "from finegrain.kernel.phys cimport x", ["finegrain.kernel.phys.x"]),
        (
            "replay/a.pyx",
            "from finegrain.kernel.boot import Kernel\nfrom finegrain.workload import program",
            [],
        ),
        ("replay/a.pyx", "from finegrain.kernel.vm cimport x", []),
        ("replay/a.pyx", "from finegrain.kernel.vm.b cimport x", ["finegrain.kernel.vm.b.x"]),
        ("replay/a.pyx", "from finegrain.lab import x", ["finegrain.lab.x"]),
        ("lab/a.pyx", "from finegrain.kernel.vm cimport x\nfrom finegrain.kernel.boot import y", []),
        ("lab/a.pyx", "from finegrain.kernel.vm.b cimport x", ["finegrain.kernel.vm.b.x"]),
        ("lab/a.py", "from finegrain.kernel.vm.b import x  # a compiled module's Python door", []),
    ],
)
def test_the_checker_sees_every_kind_of_edge(path: str, text: str, bad: list[str]) -> None:
    found = wrong(text, Path(path))
    assert [line.partition("may not import ")[2].partition(":")[0] for line in found] == bad


def test_the_face_of_a_folder_is_not_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kernel" / "locks"
    folder.mkdir(parents=True)
    (folder / "mtx.pxd").touch()
    (folder / "rw.pxd").touch()
    (folder / "__init__.pxd").write_text("from finegrain.kernel.locks.rw cimport rw, rw_rlock\n")
    monkeypatch.setitem(globals(), "SOURCE", tmp_path)
    assert wrong("from finegrain.kernel.locks cimport mtx", Path("kernel/phys/a.pyx"))
    assert not wrong("from finegrain.kernel.locks cimport mtx_lock", Path("kernel/phys/a.pyx"))
    assert not wrong("from finegrain.kernel.locks cimport mtx", Path("kernel/locks/a.pyx"))
    assert not wrong("from finegrain.kernel.locks cimport rw", Path("kernel/phys/a.pyx"))  # the struct
    assert wrong("from finegrain.kernel.locks.rw cimport rw", Path("kernel/phys/a.pyx"))
