import io
import sys
from pathlib import Path

import pytest

from finegrain.errors import UserError
from finegrain.profile.read import profiles_of, read_all, read_file
from finegrain.profile.readers import base
from read_sample import read, rows

SECTION = "Adaptive mutex spin: 40 events in 2.000 seconds (20 events/sec)\n"
COLUMNS = (
    "Count indv cuml rcnt     nsec Lock                   Caller\n-------------------------------------\n"
)
HEAD_3 = (
    "class name con-bounces contentions waittime-min waittime-max waittime-total acq-bounces acquisitions "
)
HEAD_3 += "holdtime-min holdtime-max holdtime-total"


def test_several_formats_in_one_mail() -> None:
    text = f"""Hi,
> {SECTION}> {COLUMNS}> 4 50% 50% 0.00 10 lock f+0x1
and on Linux:
lock_stat version 0.3
{HEAD_3}
a_lock: 1 2 0.1 0.2 0.3 4 5 0.6 0.7 0.8
bye
"""
    file = read(text)
    assert [(p.format, p.label, p.table.height) for p in file.profiles] == [
        ("lockstat", "1", 1),
        ("Linux lock_stat", "2", 1),
    ]
    assert [(skip.first, skip.last) for skip in file.skipped] == [(1, 1), (6, 6), (10, 10)]
    assert set(file.notes) == {"lockstat", "Linux lock_stat"}


@pytest.mark.parametrize("text", ["", " \n\n", "nothing\n" * 50, "12 34 56\n", "a: 1 2 3\n", "{}", "[1]"])
def test_what_is_no_profile_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError) as refusal:
        read(text)
    assert "\n" not in str(refusal.value)


def test_marks_before_lines_are_no_part_of_names() -> None:
    text = " * Caller Avg Hold Count Max Hold Total Hold\n *  f+0x18b 402 1 402 402\n * g+0x427\n"
    assert rows(text, "site", "stack") == [("f+0x18b", ["g+0x427"])]


ROW = "9 28 1000 {wait} 500 2 15 0 28420 /usr/src/sys/b.c:6 (rw:a)\n"
HEADING = "max wait_max total wait_total count avg wait_avg cnt_hold cnt_lock name\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with one dump, and one with two."""
    (tmp_path / "one").write_text(HEADING + ROW.format(wait=7))
    (tmp_path / "two").write_text((HEADING + ROW.format(wait=1)) + (HEADING + ROW.format(wait=2)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def waits(*names: str) -> list[tuple[str, float]]:
    return [(profile.name, profile.table["wait_us"][0]) for profile in profiles_of(read_all(names))]


def test_one_profile_of_a_file_is_chosen_by_its_label(folder: Path) -> None:
    assert waits("two") == [("two#1", 1.0), ("two#2", 2.0)]
    assert waits("two#2", "one") == [("two#2", 2.0), ("one", 7.0)]
    assert waits("one#1") == [("one", 7.0)]
    (folder / "one#2").write_text(HEADING + ROW.format(wait=9))
    assert waits("one#2") == [("one#2", 9.0)]  # a file of that name comes first


@pytest.mark.usefixtures("folder")
def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(Path("two").read_bytes())))
    )
    assert waits("-#2") == [("-#2", 2.0)]
    with pytest.raises(UserError, match="only once"):
        read_all(["-", "-#2"])


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing", "^missing: cannot be read: No such file"),
        ("two#3", "^two: no profile #3 in it; it has 1, 2$"),
        ("a\0b", "cannot be read: embedded null byte"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        read_file(name)


def test_too_many_dumps_are_refused_not_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MAX_DUMPS", 3)
    assert len(read((HEADING + ROW.format(wait=1)) * 3).profiles) == 3
    for text in ((HEADING + ROW.format(wait=1)) * 4, HEADING + "".join(ROW.format(wait=n) for n in range(4))):
        with pytest.raises(UserError, match=r"more than 3 dumps in one file \(line \d+\); give a part of it"):
            read(text)


PERF = " contended   total wait   max wait   avg wait   type   caller"
KLOCKSTAT = " Caller Avg Wait Count Max Wait Total Wait"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            HEADING,
            "a heading of FreeBSD LOCK_PROFILING in line 1, and no row that can be read: there is nothing under",
        ),
        (f"hi\n{HEADING}9 28 1000\n", "of FreeBSD LOCK_PROFILING in line 2, .* read: line 3: row cut short"),
        (
            f"lock_stat version 0.4\n{HEAD_3}\nnot a row\n",
            "of Linux lock_stat in line 1, .*: line 3: not part of",
        ),
        (f"{SECTION}{COLUMNS}4 50% 50% 0.00 10\n", "of lockstat in line 1, .*: line 4: row cut short"),
        (f"{PERF}\n\n 2 3.00 us\n\nbye\n", "of perf lock contention in line 1, .*: line 3: row cut short"),
        (f"{KLOCKSTAT}\n f+0x1 3 us\n", "of klockstat in line 1, .*: line 2: row cut short"),
    ],
)
def test_a_heading_without_rows_is_said_to_be_one(text: str, why: str) -> None:
    with pytest.raises(UserError, match=f"^sample: .*{why}"):
        read(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (HEADING + ROW.format(wait=1) * 3, "FreeBSD LOCK_PROFILING"),
        (f"lock_stat version 0.4\n{HEAD_3}\na_lock: 1 2 0.1 0.2 0.3 4 5 0.6 0.7 0.8\n", "Linux lock_stat"),
        (f"{SECTION}{COLUMNS}4 50% 50% 0.00 10 lock f+0x1\n", "lockstat"),
        (f"{PERF}\n\n 2 3.00 us 2.00 us 1.50 us mutex f+0x1\n", "perf lock contention"),
        (f"{KLOCKSTAT}\n f+0x1 1 us 3 2 us 3 us\n", "klockstat"),
    ],
)
def test_lost_line_ends_are_said_to_be_lost(text: str, name: str) -> None:
    for joined in (text.replace("\n", " "), "hello " + text.replace("\n", " ")):
        with pytest.raises(UserError, match=f"{name}.*(line ends lost|no row that can be read)"):
            read(joined)


STAMPS = [
    "[  123.456789] ",
    "[12.345678][ T1234] ",
    "<4>[    0.123456] ",
    "Nov  7 22:00:01 host1 kernel: [  12.345678] ",
]


@pytest.mark.parametrize(
    "stamp", [*STAMPS, "2026-11-27T22:00:01.123456Z ", "Nov 27 22:00:01 host1 kernel: ", "  [1.234567] "]
)
def test_the_times_of_a_console_are_no_part_of_names(stamp: str) -> None:
    texts = (
        f"lock_stat version 0.3\n{HEAD_3}\n&a->b: 1 2 0.1 0.2 0.3 4 5 0.6 0.7 0.8\n",
        HEADING + ROW.format(wait=7),
        " Name acquired contended avg wait\n\n a lock 3 2 1.50 us\n",
    )
    for text, name in zip(texts, ("&a->b", "a", "a lock"), strict=True):
        stamped = "".join(stamp + line for line in text.splitlines(keepends=True))
        assert rows(stamped, "lock", "wait_us") == rows(text, "lock", "wait_us")
        assert rows(stamped, "lock") == [(name,)]


@pytest.mark.parametrize(
    "line",
    [
        "-----",
        "=== === ===",
        "***",
        "123456 ops/s",
        "Throughput: 512",
        "iperf: 9.8 Gbits/sec",
        "tps = 8123.4",
        "4 events per second",
    ],
)
def test_separators_and_figures_of_a_benchmark_are_no_titles(line: str) -> None:
    text = HEADING + ROW.format(wait=7)
    assert read(f"with the patch\n{line}\n{text}").profiles[0].title == "with the patch"
    assert read(f"{line}\n{text}").profiles[0].title is None


def test_klockstat_lists_are_not_said_to_be_cut() -> None:
    file = read(f"{KLOCKSTAT}\n f+0x1 1 us 3 2 us 3 us\n")
    assert not any("ten callers" in note for note in file.notes["klockstat"])
