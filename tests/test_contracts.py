"""Lock contracts: reads the kernel's Cython, and fails where a function that has to do with locks does not say how.

A function in kernel/ or replay/ that takes, drops or needs a lock, itself or through functions that it calls, has above
its body the lines *Locks in*, *Locks out*, *May block* and *Stands for*, in this order; *Returns* and *Guarantees* come
before the last where there is something to say. An inline function may say it all on a line or two. And a function
whose *Locks in* names a lock asserts in its first statements that the thread holds it.

What may not be so stands below, with its reason; what stands there and need not is an error too.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "finegrain"
FOLDERS = ("kernel", "replay")

# module/function: why it has no complete contract.
NO_CONTRACT: dict[str, str] = {}

# module/function: why it does not assert the lock that it needs.
_FREE = "knows no thread; vm_phys_alloc_pages() and its like, through which all of them are called, assert it"
_NO_THREAD = (
    "knows no thread: a lookup may make a deferred page real, and those who change the object assert it"
)
_AN_ENTRY = "is given fields of an entry and not its map; who calls it holds the map and asserts it"
_AUDITS = "knows no thread: audits of a stopped machine, which hold nothing, look pages up too"
NO_ASSERTION: dict[str, str] = {
    "kernel/locks/profile/lock_profile_releasing": "looks for the lock among those held, and panics when it is not",
    "kernel/locks/rwsx/rwsx_wake": "is called by those who give the lock up, after they have asserted it",
    "kernel/phys/free/enqueue_rest": _FREE,
    "kernel/phys/free/freelist_add": _FREE,
    "kernel/phys/free/freelist_remove": _FREE,
    "kernel/phys/free/take_first": _FREE,
    "kernel/phys/free/take_largest": _FREE,
    "kernel/phys/free/take_virgin": _FREE,
    "kernel/phys/deferred/look_up_deferred": _NO_THREAD,
    "kernel/phys/deferred/make_real": _NO_THREAD,
    "kernel/phys/deferred/vm_object_undefer": "vm_object_terminate(), which alone calls it, asserts it",
    "kernel/phys/objpages/become_resident": _NO_THREAD,
    "kernel/phys/objpages/radix_cover": _NO_THREAD,
    "kernel/phys/objpages/vm_page_make_resident": _NO_THREAD,
    "kernel/phys/objpages/vm_radix_insert": _NO_THREAD,
    "kernel/phys/free/nothing_smaller": _FREE,
    "kernel/phys/free/queue_started": _FREE,
    "kernel/phys/free/vm_phys_free_contig": "vm_phys_free_pages(), to which it gives each block, asserts it",
    "kernel/phys/objpages/vm_radix_lookup": _AUDITS,
    "kernel/phys/objpages/vm_radix_lookup_le": _AUDITS,
    "kernel/vm/object/vm_object_coalesce": _AN_ENTRY,
    "kernel/vm/object/vm_object_shadow": _AN_ENTRY,
}

FIELDS = ("Locks in", "Locks out", "May block", "Returns", "Guarantees", "Stands for")
REQUIRED = ("Locks in", "Locks out", "May block", "Stands for")
FIRST_STATEMENTS = 6  # where an assertion is looked for, declarations not counted

_FIELD = re.compile(rf"(?:^|(?<=\s))({'|'.join(FIELDS)}):(?=\s)")
_HEAD = re.compile(r"^cdef (inline )?[\w\s*]+?[\s*](\w+)\(")
_CALL = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\(")
_STRING = re.compile(r'b?"(?:\\.|[^"\\\n])*"')

# What has to do with locks by its name: the seam's own, those of kernel/locks, and questions whether one is held.
_SEAM = ("raw_lock", "raw_unlock", "critical_enter", "critical_exit")
_LOCK = re.compile(
    r"(mtx|mtx8|bit2|rw|sx|rwsx|lockmgr)_(try_?)?[rwxs]?(un)?lock(_spin|_hard|_at)?"
    r"|(rw|sx|rwsx|lockmgr)_(downgrade|(try_)?upgrade|wake)"
    r"|chain_(un)?lock|msleep|sleep_sx|wakeup|turnstile_(add|block|claim|publish|owner|disown|broadcast|lookup)"
)
_QUESTION = re.compile(
    r"\w*ASSERT\w*|(\w+_)?assert_(\w+_)?(un)?(locked|owned|ours|wlocked|xlocked)|(mtx|mtx8|bit2)_owned|"
    r"(rw|rwsx|pv_list)_wowned|(sx|lockmgr)_xlocked|lock_held"
)
_ASSERTION = re.compile(r"\b(\w*ASSERT\w*|\w*assert_\w+)\(")
_DROPS = re.compile(
    r"(mtx|mtx8|bit2|rw|sx|rwsx|lockmgr|chain|pv_list)_\w*unlock\w*|rwsx_downgrade|rwsx_try_upgrade"
)
_ASKED_AND_PANICS = re.compile(r"owner|writer|readers|owned|lock_held")

_SAID = re.compile(r"\b(locked|held)\b")

# "the pmap lock of pm", "*lockp is NULL or a PV list lock"; but a raw lock knows no owner.
_A_LOCK = re.compile(r"\b(lock|locks|mutex|lockp|interlock)\b")
_NOT_NEEDED = re.compile(
    r"^(none|no|not|any|perhaps|if|nothing|nobody|whatever|usually|all|unlike)\b|\braw lock\b"
)


@dataclass
class Function:
    """A cdef function and what stands above it."""

    where: str  # module/name
    line: int
    name: str
    inline: bool
    section: str  # the heading that it stands under
    comment: list[str]
    body: list[str]  # logical lines, without comments and strings
    calls: set[str] = field(default_factory=set)

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The contract: names and texts, as they stand."""
        text = "\n".join(line.lstrip("#").strip() for line in self.comment)
        found = list(_FIELD.finditer(text))
        ends = [*(match.start() for match in found[1:]), len(text)][: len(found)]
        return [
            (match[1], " ".join(text[match.end() : end].split()))
            for match, end in zip(found, ends, strict=True)
        ]

    @property
    def statements(self) -> list[str]:
        return [line.strip() for line in self.body if not line.strip().startswith("cdef ")]


def logical_lines(lines: list[str]) -> Iterator[str]:
    """Lines without comments and strings, those in brackets joined."""
    held, depth = "", 0
    for line in lines:
        bare = _STRING.sub('""', line).split("#")[0].rstrip()
        depth += bare.count("(") + bare.count("[") - bare.count(")") - bare.count("]")
        held = f"{held} {bare.strip()}" if held else bare
        if depth <= 0:
            if held.strip():
                yield held
            held, depth = "", 0


def functions_of(path: Path) -> Iterator[Function]:
    """The functions that a file defines: in a .pxd, the inline ones."""
    lines = path.read_text().split("\n")
    module = str(path.relative_to(SOURCE).with_suffix(""))
    section = ""
    for start, line in enumerate(lines):
        section = line if line.startswith("# ---") else section
        head = _HEAD.match(line)
        if not head:
            continue
        end, depth = start - 1, 0
        while end < start or depth:
            end += 1
            depth += lines[end].count("(") - lines[end].count(")")
        if not lines[end].split("#")[0].rstrip().endswith(":"):
            continue  # a declaration
        last = end + 1
        while last < len(lines) and (not lines[last] or lines[last].startswith(" ")):
            last += 1
        first = start
        while first and lines[first - 1].startswith("#"):
            first -= 1
        body = list(logical_lines(lines[end + 1 : last]))
        calls = {call for text in body for call in _CALL.findall(text)}
        yield Function(
            f"{module}/{head[2]}", start + 1, head[2], bool(head[1]), section, lines[first:start], body, calls
        )


def all_functions() -> list[Function]:
    """Every function of the kernel and of the replay."""
    paths = sorted(path for folder in FOLDERS for path in (SOURCE / folder).rglob("*.p[yx][xd]"))
    return [function for path in paths for function in functions_of(path)]


def concerns_locks(functions: list[Function]) -> set[str]:
    """Which take, drop or need a lock, themselves or through those that they call; by where they are."""
    by_module: dict[str, dict[str, Function]] = {}
    by_name: dict[str, list[Function]] = {}
    for function in functions:
        by_module.setdefault(function.where.rpartition("/")[0], {})[function.name] = function
        by_name.setdefault(function.name, []).append(function)

    def called(function: Function, name: str) -> list[Function]:
        own = by_module[function.where.rpartition("/")[0]].get(name)
        return [own] if own else by_name.get(name, [])

    def by_its_name(name: str) -> bool:
        return name in _SEAM or bool(_LOCK.fullmatch(name) or _QUESTION.fullmatch(name))

    found = {
        function.where
        for function in functions
        if by_its_name(function.name)
        or any(map(by_its_name, function.calls))
        or function.fields
        or any(_SAID.search(line) for line in [function.section, *function.comment])
    }
    while True:
        more = {
            function.where
            for function in functions
            if function.where not in found
            and any(
                other.where in found and other.where != function.where
                for name in function.calls
                for other in called(function, name)
            )
        }
        if not more:
            return found
        found |= more


def what_is_missing(function: Function) -> str | None:
    """What its contract lacks; None: nothing."""
    names = [name for name, text in function.fields]
    lacking = [name for name in REQUIRED if name not in names]
    if lacking:
        return f"no {', no '.join(lacking)}"
    if [name for name in FIELDS if name in names] != names:
        return f"{', '.join(names)}: not in this order"
    empty = [name for name, text in function.fields if not text]
    if empty:
        return f"nothing after {', '.join(empty)}"
    starts = [line.lstrip("# ").partition(":")[0] for line in function.comment]
    if not function.inline and not all(name in starts for name in names):
        return "not a line for each: only an inline function may be short"
    return None


def needs(function: Function) -> list[str]:
    """The locks that its contract says are held by the caller."""
    text = dict(function.fields).get("Locks in", "")
    clauses = [clause.strip() for clause in re.split(r";|\.(?:\s|$)", text)]
    return [clause for clause in clauses if _A_LOCK.search(clause) and not _NOT_NEEDED.search(clause.lower())]


def asserts(function: Function, by_name: dict[str, Function]) -> bool:
    """One of its first statements asserts that a lock is held, or drops one, which says so if it is not.

    Or the first of all calls a function that does.
    """
    if _QUESTION.fullmatch(function.name):
        return True  # it asserts nothing else
    callees = [by_name[name] for name in _CALL.findall(function.statements[0]) if name in by_name]
    if any(callee.where != function.where and asserts(callee, by_name) for callee in callees):
        return True
    for number, text in enumerate(function.statements[:FIRST_STATEMENTS]):
        calls = _CALL.findall(text)
        if _ASSERTION.search(text) or any(map(_DROPS.fullmatch, calls)):
            return True
        if "panic" in calls and number and _ASKED_AND_PANICS.search(function.statements[number - 1]):
            return True
        if any(map(_LOCK.fullmatch, calls)):
            break
    return False


def difference(found: dict[str, str], exceptions: dict[str, str]) -> str:
    """What is wrong and not excepted, and what is excepted and not wrong; "" when neither."""
    wrong = [f"{where}: {found[where]}" for where in sorted(found.keys() - exceptions.keys())]
    needless = [
        f"{where}: an exception that is not needed" for where in sorted(exceptions.keys() - found.keys())
    ]
    return "\n".join(wrong + needless)


def test_functions_that_have_to_do_with_locks_have_a_contract() -> None:
    functions = all_functions()
    concerned = concerns_locks(functions)
    found = {
        function.where: missing
        for function in functions
        if function.where in concerned and (missing := what_is_missing(function))
    }
    assert difference(found, NO_CONTRACT) == ""


def test_functions_that_need_a_lock_assert_it() -> None:
    functions = all_functions()
    by_name = {function.name: function for function in functions}
    found = {
        function.where: f"does not assert {'; '.join(needed)}"
        for function in functions
        if (needed := needs(function)) and not asserts(function, by_name)
    }
    assert difference(found, NO_ASSERTION) == ""


def test_the_reader_reads_what_it_is_for() -> None:
    functions = {function.where: function for function in all_functions()}
    assert len(functions) > 300
    lock = functions["kernel/locks/mtx/mtx_lock"]
    assert [name for name, text in lock.fields] == list(REQUIRED)
    assert "kernel/pmap/pv/get_pv_entry" in functions  # inline, in a .pxd
    assert not needs(lock)
    assert needs(functions["kernel/pmap/remove/pmap_remove_pte"])
