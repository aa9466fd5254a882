"""Print a random profile in each format, mangle it as mail would, read it back: every row, every number."""

import io
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finegrain.profile.read import File, read_stream
from finegrain.profile.readers import READERS
from mangled_mail import mangled

Row = dict[str, Any]


def read(text: str | bytes) -> File:
    data = text if isinstance(text, bytes) else text.encode()
    return read_stream(io.BufferedReader(io.BytesIO(data)), "test")


# ---- names and numbers

WORD = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=2, max_size=9)
# names of locks hold blanks, colons, brackets, signs
NAME = st.builds(
    lambda words, tail: " ".join(words) + tail,
    st.lists(WORD, min_size=1, max_size=3),
    st.sampled_from(["", " (user)", "#2", "/1", "[3]", "->lock", "_mtx"]),
)
LOCKDEP = st.builds(
    lambda head, word, tail: head + word + tail,
    st.sampled_from(["", "&", "&mm->", "&(&", "(work_completion)(&(&"]),
    WORD,
    st.sampled_from(["", "#3", "/1", "->wait_lock", "_key#25", "lock #2"]),
)
SYMBOL = st.builds(lambda word, at: f"{word}+0x{at:x}", WORD, st.integers(1, 4095))


def symbol(draw: st.DrawFn, at: int) -> str:
    """A symbol that no other row has: the same row again would be a copy, the same lock another dump."""
    return f"{draw(WORD)}+0x{draw(st.integers(1, 255)):x}0{at:x}"


COUNT = st.integers(0, 10**12)
SMALL = st.integers(1, 10**6)
CENTS = st.integers(0, 10**11).map(lambda cents: cents / 100)  # lock_stat prints two digits


# ---- printers: a row of figures -> the lines that the format prints


@dataclass
class Printed:
    """A profile as its program prints it, and the rows that must come back."""

    text: str
    rows: list[Row]


@st.composite
def lock_profiling(draw: st.DrawFn) -> Printed:
    columns = draw(
        st.sampled_from(
            [
                "max wait_max total wait_total count avg wait_avg cnt_hold cnt_lock",
                "max total wait_total count avg wait_avg cnt_hold cnt_lock",
                "max total count avg cnt_hold cnt_lock",
            ]
        )
    ).split()
    lines, rows = ["debug.lock.prof.stats: ", " ".join(f"{c:>9}" for c in [*columns, "name"])], []
    fields = {"max": "hold_max_us", "wait_max": "wait_max_us", "total": "hold_us", "wait_total": "wait_us"}
    fields |= {"count": "count", "avg": "hold_avg_us", "wait_avg": "wait_avg_us", "cnt_lock": "contended"}
    for at in range(draw(st.integers(1, 5))):
        values = {column: 0 if column == "cnt_hold" else draw(COUNT) for column in columns}
        lock_class = draw(st.sampled_from(["sleep mutex", "rw", "sx", "lockmgr", "spin mutex"]))
        name, site = draw(NAME), f"/usr/src/sys/kern/{draw(WORD)}.c:{draw(SMALL)}{at}"
        figures = " ".join(f"{values[column]:>9}" for column in columns)
        lines.append(f"{figures} {site} ({lock_class}:{name})")
        row: Row = {fields[column]: value for column, value in values.items() if column in fields}
        rows.append(row | {"lock_class": lock_class, "lock": name, "site": site})
    return Printed("\n".join(lines) + "\n", rows)


@st.composite
def lock_stat(draw: st.DrawFn) -> Printed:
    averages = draw(st.booleans())
    fields = ["con_bounces", "contended", "wait_min_us", "wait_max_us", "wait_us", "wait_avg_us"]
    fields += ["acq_bounces", "count", "hold_min_us", "hold_max_us", "hold_us", "hold_avg_us"]
    titles = ["con-bounces", "contentions", "waittime-min", "waittime-max", "waittime-total", "waittime-avg"]
    titles += [
        "acq-bounces",
        "acquisitions",
        "holdtime-min",
        "holdtime-max",
        "holdtime-total",
        "holdtime-avg",
    ]
    shown = [at for at in range(12) if averages or at not in (5, 11)]
    rule = "-" * (41 + 15 * len(shown))
    heading = f"{'class name':>40} " + " ".join(f"{titles[at]:>14}" for at in shown)
    lines = [f"lock_stat version 0.{4 if averages else 3}", rule, heading, rule, ""]
    rows: list[Row] = []
    for name in draw(st.lists(LOCKDEP, min_size=1, max_size=3, unique=True)):
        modes = draw(st.sampled_from([[""], ["-W", "-R"]]))
        for mode in modes:
            values = {f: draw(CENTS if f.endswith("us") else COUNT) for f in fields}
            cells = [f"{values[f]:>14.2f}" if f.endswith("us") else f"{values[f]:>14}" for f in fields]
            lines.append(f"{name + mode + ':':>40} " + " ".join(cells[at] for at in shown))
            row: Row = {fields[at]: values[fields[at]] for at in shown}
            told = {"": None, "-W": "write", "-R": "read"}[mode]
            rows.append(row | {"lock": name, "role": "lock", "mode": told})
        for role in ("waiter", "holder"):
            lines.append(" " * (40 - len(name)) + "-" * max(len(name), 3))
            for at in range(draw(st.integers(1, 4))):
                count, site = draw(COUNT), f"{symbol(draw, at)}/0x2000"
                lines.append(f"{name:>40} {count:>14} {'[<ffffffff81502a70>]':>29} {site}")
                rows.append({"lock": name, "role": role, "contended": count, "site": site, "wait_us": None})
        lines += ["", "." * len(rule), ""]
    return Printed("\n".join(lines) + "\n", rows)


@st.composite
def lockstat(draw: st.DrawFn) -> Printed:
    stacks = draw(st.booleans())
    events = [
        ("Adaptive mutex spin", "wait"),
        ("R/W reader blocked by writer", "wait"),
        ("SX exclusive hold", "hold"),
    ]
    lines, rows = [], []
    rule = "-" * 79
    heading = f"{'Count':>5} {'indv':>4} {'cuml':>4} {'rcnt':>4} {'nsec':>8} {'Lock':<22} Caller"
    for event, kind in draw(st.lists(st.sampled_from(events), min_size=1, max_size=3, unique=True)):
        lines += ["", f"{event}: 4321 events in 5.011 seconds (862 events/sec)", ""]
        lines += [] if stacks else [heading, rule]
        for at in range(draw(st.integers(1, 3))):
            count, mean = draw(SMALL), draw(SMALL)
            lock = draw(st.one_of(NAME, st.just("0xfffff8000cd83a88"), st.just("vm_dom+0x80")))
            site = symbol(draw, at)
            lines += [rule, heading] if stacks else []
            lines.append(f"{count:>5}  33%  44% 0.00 {mean:>8} {lock:<22} {site}")
            row: Row = {"lock": lock, "site": site, "event": event, f"{kind}_avg_us": mean / 1e3}
            row |= {f"{kind}_us": count * mean / 1e3, ("contended" if kind == "wait" else "count"): count}
            if stacks:
                frames = draw(st.lists(SYMBOL, min_size=1, max_size=5))
                bins = draw(st.lists(SMALL, min_size=1, max_size=4))
                lines += ["", f"{'nsec':>10} ------ Time Distribution ------ {'count':<9} Stack"]
                for bin_ in range(max(len(bins), len(frames))):
                    frame = frames[bin_] if bin_ < len(frames) else ""
                    bar = (
                        f"{1 << (bin_ + 9):>10} |{'@@@':<30} {bins[bin_]:<9} "
                        if bin_ < len(bins)
                        else " " * 53
                    )
                    lines.append((bar + frame).rstrip())
                row |= {"stack": frames}
                row["histogram_ns"] = [
                    part for bin_, count in enumerate(bins) for part in (1 << (bin_ + 9), count)
                ]
            rows.append(row)
        lines.append(rule)
    return Printed("\n".join(lines) + "\n", rows)


def perf_time(draw: st.DrawFn) -> tuple[str, float]:
    unit, scale, digits = draw(
        st.sampled_from([("ns", 1e-3, 0), ("us", 1.0, 2), ("ms", 1e3, 2), ("s", 1e6, 2)])
    )
    value = draw(st.integers(0, 999)) if digits == 0 else draw(st.integers(100, 99_999)) / 100
    return f"{value:.{digits}f} {unit}", pytest.approx(value * scale)


@st.composite
def perf_contention(draw: st.DrawFn) -> Printed:
    keys = {"contended": "contended", "total wait": "wait_us", "max wait": "wait_max_us"}
    keys |= {"min wait": "wait_min_us", "avg wait": "wait_avg_us"}
    chosen = [
        "contended",
        *draw(st.lists(st.sampled_from(list(keys)[1:]), min_size=1, max_size=4, unique=True)),
    ]
    mode = draw(st.sampled_from(["type   caller", "pid   comm", "pid   owner", "address   symbol"]))
    csv = draw(st.sampled_from(["", "", ",", ";", "|"]))
    stacks = mode == "type   caller" and draw(st.booleans())
    tail_names = mode.split()
    if csv:
        extra = ["stacktrace"] if stacks else ["type"] if mode.endswith("symbol") else []
        lines = ["# output: " + f"{csv} ".join([*chosen, *tail_names, *extra])]
    else:
        lines = [" ".join(f"{key:>12}" for key in chosen) + f"  {mode:>20}", ""]
    rows = []
    for at in range(draw(st.integers(1, 4))):
        row: Row = {}
        cells = []
        for key in chosen:
            if key == "contended":
                row["contended"] = draw(SMALL)
                cells.append(str(row["contended"]))
            elif csv:
                value = draw(COUNT)
                row[keys[key]] = value / 1e3
                cells.append(str(value))
            else:
                shown, row[keys[key]] = perf_time(draw)
                cells.append(shown)
        frames = draw(st.lists(SYMBOL, min_size=1, max_size=4)) if stacks else []
        if tail_names[0] == "type":
            kind, letter = draw(
                st.sampled_from([("spinlock", ""), ("rwsem", ":R"), ("rwlock", ":W"), ("mutex", "")])
            )
            site = symbol(draw, at)
            tail = [kind + letter, site]
            row |= {"lock_class": kind, "site": site, "mode": {"": None, ":R": "read", ":W": "write"}[letter]}
        elif tail_names[0] == "pid":
            pid, comm = (
                draw(st.integers(1, 99999)) * 10 + at if at else -1,
                draw(st.sampled_from(["CPU 3/KVM", "node", "kworker/u8:2+wq"])),
            )
            tail, row["pid"], row["site"] = [str(pid), comm], pid, comm
        else:
            lock = draw(st.sampled_from(["pack_mutex", "&task_struct", "&kmalloc-cg-512"]))
            address = f"ffff98d7031fb49{at}"
            tail = [address, lock, "mutex"] if csv else [address, f"{lock} (mutex)"]
            row |= {"lock": lock, "lock_class": "mutex"}
        if stacks:
            row["stack"] = frames
        if csv:
            tail += [":".join(f" 0xffffffffac6318e7 {frame}" for frame in frames).strip()] if stacks else []
            lines.append(f"{csv} ".join([*cells, *tail]))
        else:
            lines.append(" ".join(f"{cell:>12}" for cell in cells) + f"  {tail[0]:>10}   {tail[1]}")
            lines += [f"\t\t\t0xffffffffac6318e7  {frame}" for frame in frames]
        rows.append(row)
    return Printed("\n".join(lines) + "\n", rows)


@st.composite
def perf_report(draw: st.DrawFn) -> Printed:
    old = draw(st.booleans())
    keys = {
        "avg wait": "wait_avg_us",
        "total wait": "wait_us",
        "max wait": "wait_max_us",
        "min wait": "wait_min_us",
    }
    titles = [f"{key} (ns)" if old else key for key in keys]
    lines = [f"{'Name':>20} {'acquired':>10} {'contended':>10} " + " ".join(f"{t:>15}" for t in titles), ""]
    rows = []
    for at in range(draw(st.integers(1, 4))):
        name = draw(st.one_of(NAME, LOCKDEP, st.just("update_blocked_a..."), st.just("CPU 3/KVM")))
        row: Row = {"lock": name, "count": draw(SMALL) * 10 + at, "contended": draw(SMALL)}
        cells = []
        for field in keys.values():
            if old:
                value = draw(COUNT)
                shown, row[field] = str(value), pytest.approx(value / 1e3)
            else:
                shown, row[field] = perf_time(draw)
            cells.append(f"{shown:>15}")
        lines.append(f"{name:>20} {row['count']:>10} {row['contended']:>10} " + " ".join(cells))
        rows.append(row)
    lines += ["", "=== output for debug===", "", "bad: 3, total: 90", "bad rate: 3.33 %"]
    return Printed("\n".join(lines) + "\n", rows)


@st.composite
def klockstat(draw: st.DrawFn) -> Printed:
    python = draw(st.booleans())
    lines, rows = ["Tracing lock events... Hit Ctrl-C to end."], []
    for kind in ("wait", "hold"):
        word = {"wait": "Spin" if python else "Wait", "hold": "Hold"}[kind]
        last = word.lower() if python else word
        lines += ["", f"{'Caller':>40} {f'Avg {word}':>10}  Count  {f'Max {last}':>10} {f'Total {last}':>10}"]
        for at in range(draw(st.integers(1, 3))):
            site, count = symbol(draw, at), draw(SMALL)
            shown, values = [], []
            for _ in range(3):
                if python:
                    value = draw(COUNT)
                    shown.append(str(value))
                    values.append(value / 1e3)
                else:
                    text, value = perf_time(draw)
                    shown.append(text)
                    values.append(value)
            lines.append(f"{site:>40} {shown[0]:>10} {count:>6} {shown[1]:>10} {shown[2]:>10}")
            frames = draw(st.lists(SYMBOL, max_size=3))
            lines += [f"{frame:>40}" for frame in frames if frame != site]
            row: Row = {"site": site, "stack": [f for f in frames if f != site] or None, "event": kind}
            row |= {"count" if kind == "wait" else "hold_count": count}
            row |= {f"{kind}_avg_us": values[0], f"{kind}_max_us": values[1], f"{kind}_us": values[2]}
            rows.append(row)
    return Printed("\n".join(lines) + "\n", rows)


@st.composite
def netbsd_lockstat(draw: st.DrawFn) -> Printed:
    lines, rows = ["Elapsed time: 12.50 seconds."], []
    events = ["Adaptive mutex spin", "RW lock sleep (writer)", "Kernel lock spin"]
    for event in draw(st.lists(st.sampled_from(events), min_size=1, unique=True)):
        lines += ["", f"-- {event}", "", "Total%  Count   Time/ms          Lock                     Caller"]
        lines += ["------ ------- --------- ---------------------- ------------------------------"]
        for at in range(draw(st.integers(1, 3))):
            name, callers = f"{draw(WORD)}{at}", draw(st.integers(1, 3))
            roles = ["site"] if callers == 1 else ["lock", *["waiter"] * callers]
            for place, role in enumerate(roles):
                count, cents = draw(SMALL), draw(st.integers(0, 10**8))
                site = "<all>" if role == "lock" else symbol(draw, place)
                lines.append(f" 12.34 {count:>7} {cents / 100:>9.2f} {name:<22} {site}")
                row: Row = {
                    "lock": name,
                    "site": None if role == "lock" else site,
                    "role": role,
                    "event": event,
                }
                rows.append(row | {"contended": count, "wait_us": pytest.approx(cents * 10)})
    return Printed("\n".join(lines) + "\n", rows)


@st.composite
def plockstat(draw: st.DrawFn) -> Printed:
    stacks = draw(st.booleans())
    lines, rows = [], []
    events = [("Mutex block", None), ("Mutex unsuccessful spin", None), ("R/W writer hold", "write")]
    heading, rule = f"{'Count':>5} {'nsec':>8} {'Lock':<28} Caller", "-" * 79
    for event, mode in draw(st.lists(st.sampled_from(events), min_size=1, unique=True)):
        lines += ["", event, ""] + ([] if stacks else [heading, rule])
        for at in range(draw(st.integers(1, 3))):
            count, mean, site = draw(SMALL), draw(SMALL), f"a.out`{symbol(draw, at)}"
            lock = draw(st.sampled_from(["0x80f6a60", "libc.so.1`libc_malloc_lock"]))
            lines += [rule, heading] if stacks else []
            lines.append(f"{count:>5} {mean:>8} {lock:<28} {site}")
            kind, number = ("hold", "count") if "hold" in event else ("wait", "contended")
            row: Row = {"lock": lock, "site": site, "event": event, "mode": mode, number: count}
            row |= {f"{kind}_us": mean * count / 1e3, f"{kind}_avg_us": mean / 1e3, "stack": None}
            if stacks:
                lines += ["", f"{'nsec':>10} ---- Time Distribution --- count Stack"]
                lines += [f"{512:>10} |{'@@@@':<24}| {count:>5} {site}", f"{'':>43} a.out`main+0x10"]
                row |= {"stack": [site, "a.out`main+0x10"], "histogram_ns": [512, count]}
            rows.append(row)
    return Printed("\n".join(lines) + "\n", rows)


@st.composite
def bpftrace(draw: st.DrawFn) -> Printed:
    lines, rows = ["Attaching 2 probes...", "^C", ""], []
    maps = [("wait", "wait_us"), ("wait_max_us", "wait_max_us"), ("", "count"), ("hold_ns", "hold_us")]
    for name, column in draw(st.lists(st.sampled_from(maps), min_size=1, unique=True)):
        for at in range(draw(st.integers(1, 3))):
            value, site = draw(SMALL), f"{draw(WORD)}+{at + 1}"
            frames = draw(st.lists(WORD.map(lambda word: f"{word}+23"), max_size=3))
            inner = draw(st.sampled_from([[], ["__mutex_lock.constprop.0+5"]]))
            stack = [*inner, site, *frames]
            lines += [f"@{name}[", *[f"    {frame}" for frame in stack], f"]: {value}"]
            figure = (
                value if column == "count" else pytest.approx(value / (1 if name.endswith("_us") else 1e3))
            )
            rows.append({"event": f"@{name}", "site": site, "stack": stack, "role": "site", column: figure})
    return Printed("\n".join(lines) + "\n", rows)


@st.composite
def go_pprof(draw: st.DrawFn) -> Printed:
    counts = draw(st.booleans())
    lines = [
        "File: server",
        f"Type: {'contentions' if counts else 'delay'}",
        "Time: Nov 27, 2026 at 10:00pm (UTC)",
    ]
    lines += [
        "Duration: 10.20s, Total samples = 5.20s (50.98%)",
        "Showing nodes accounting for 5.20s, 100% of 5.20s total",
    ]
    lines, rows = [*lines, "      flat  flat%   sum%        cum   cum%"], []
    for at in range(draw(st.integers(1, 4))):
        site = draw(
            st.sampled_from(
                ["sync.(*Mutex).Unlock (inline)", "main.(*cache).get.func1", "main.run[go.shape.int]"]
            )
        )
        site = site.replace(".", f".{draw(WORD)}{at}.", 1)
        if counts:
            value = draw(SMALL)
            shown, figure = str(value), {"contended": value, "wait_us": None}
        else:
            text, us = perf_time(draw)
            shown, figure = text.replace(" ", ""), {"wait_us": us, "contended": None}
        nothing = draw(st.booleans()) or shown in ("0ns",)
        own, share = ("0", "0") if nothing else (shown, "12.34")
        lines.append(f"{own:>10} {share:>5}% {share:>5}% {shown:>10} {share:>5}%  {site}")
        rows.append({"site": site, "role": "inclusive" if nothing else "site"} | figure)
    return Printed("\n".join(lines) + "\n", rows)


FORMATS = {
    "FreeBSD LOCK_PROFILING": (lock_profiling, 72),
    "Linux lock_stat": (lock_stat, 66),
    "lockstat": (lockstat, 66),
    "perf lock contention": (perf_contention, 66),
    "perf lock report": (perf_report, 72),
    "klockstat": (klockstat, 66),
    "NetBSD lockstat": (netbsd_lockstat, 66),
    "plockstat": (plockstat, 66),
    "bpftrace map": (bpftrace, 66),
    "go pprof": (go_pprof, 66),
}


def test_every_format_that_is_read_is_printed_here() -> None:
    assert set(FORMATS) == {reader.format for reader in READERS}


def check(read_rows: list[Row], rows: list[Row]) -> None:
    found = [{key: row[key] for key in wanted} for row, wanted in zip(read_rows, rows, strict=True)]
    assert found == rows


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_row_comes_back(name: str, data: st.DataObject) -> None:
    printer, narrowest = FORMATS[name]
    printed = data.draw(printer())
    file = read(data.draw(mangled(printed.text, narrowest=narrowest)))
    assert len(file.profiles) == 1
    assert file.broken_rows == 0
    check(file.profiles[0].table.to_dicts(), printed.rows)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_several_dumps_of_one_file_stay_apart(name: str, data: st.DataObject) -> None:
    printer, _ = FORMATS[name]
    first, second = data.draw(printer()), data.draw(printer())
    # lockstat's sections have no heading in common: another run is known by its time
    file = read(f"before:\n{first.text}\nafter:\n{second.text.replace('in 5.011 s', 'in 9.002 s')}")
    rows = [profile.table.to_dicts() for profile in file.profiles]
    assert len(rows) == 2
    check(rows[0], first.rows)
    check(rows[1], second.rows)
    assert [profile.label for profile in file.profiles] == ["1", "2"]
