"""A file is hostile input: the worst that reading it may do is to refuse it in one line."""

import bz2
import contextlib
import gzip
import io
import json
import lzma
from collections.abc import Callable

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from finegrain.errors import UserError
from finegrain.profile.diff import diff_profiles
from finegrain.profile.group import BY
from finegrain.profile.read import File, read_stream
from finegrain.report import diff as report_diff
from finegrain.report import profile as report

# Pieces that the readers look for, put together at random with figures and rubbish.
PIECES = """\
debug.lock.prof.stats:|max|wait_max|total|wait_total|count|avg|wait_avg|cnt_hold|cnt_lock|name|(rw:a b)
/a.c:3|lock_stat version 0.4|class name|con-bounces|contentions|waittime-min|acq-bounces|acquisitions
&mm->sem-W:|[<ffffffff81502a70>]|f+0x1/0x2|-------|.......|Adaptive mutex spin:|events in
seconds (1 events/sec)|Count indv cuml rcnt nsec Lock Caller|33%|0.00
nsec ------ Time Distribution ------ count Stack|512|@@@@|contended|acquired|total wait
max wait|avg wait (ns)|type caller|pid owner|address symbol|cgroup|# output:|1.5 us|2.3 ms|12 ns|9 h
spinlock|mutex|0xffffffffac6318e7|Name|Caller|Avg Spin Count Max spin Total spin
Max PID 3, COMM a b, Lock x (0xff)|=3D|&lt;|&#27;|<br>|> |=|,|;|:|\x1b[31m|\x00|\u202e|99999999999999999999
Content-Transfer-Encoding: quoted-printable|bad: 3, total: 4|{|}|[|]|-1
=== owner stack trace ===|# owner stack trace:|18446744073709551615|5124095.5 h|Adaptive mutex spin: 4 events
Elapsed time: 2.00 seconds.|-- Spin mutex spin|Total% Count Time/ms Lock Caller|12.34 5 6.78 a <all>|Mutex block
Count nsec Lock Caller|nsec ---- Time Distribution --- count Stack|512 |@@ | 3 lib`f|3 4 lib`a lib`f|@wait[|]: 44|f+1
@[a]: 3|]: count 1, average 2, total 3|Type: delay|Type: cpu|flat flat% sum% cum cum%|3ms 1% 2% 4ms 5% sync.f|0 0% 0%
1|2|3|44|567""".replace("\n", "|").split("|")
LINES = st.lists(
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=14).map(" ".join), max_size=30
)


def read(data: bytes) -> File | None:
    refusal = None
    try:
        return read_stream(io.BufferedReader(io.BytesIO(data)), "hostile")
    except UserError as error:
        refusal = str(error)
    assert "\n" not in refusal
    return None


def use(file: File) -> None:
    """Everything that a command would print of it can be printed, and is plain."""
    for by in BY:
        for page in (
            report.text(file, by, 20),
            report.markdown_text(file, by, 20),
            "".join(report.as_csv(file, by, 0)),
        ):
            assert all(char == "\n" or char.isprintable() for char in page)
        json.loads("".join(report.as_json(file, by, 0)))
    with contextlib.suppress(UserError):
        diff = diff_profiles([file.profiles[0], file.profiles[-1]])
        assert all(char == "\n" or char.isprintable() for char in report_diff.text(diff, 20))
        json.loads("".join(report_diff.as_json(diff, [])))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(lines=LINES)
def test_rubbish_made_of_the_formats_own_words(lines: list[str]) -> None:
    file = read("\n".join(lines).encode("utf-8", "surrogatepass"))
    if file:
        use(file)


@settings(max_examples=60, deadline=None)
@given(lines=LINES, at=st.integers(0, 400), how=st.sampled_from([gzip.compress, lzma.compress, bz2.compress]))
def test_compressed_rubbish_cut_or_damaged(lines: list[str], at: int, how: Callable[[bytes], bytes]) -> None:
    data = bytearray(how("\n".join(lines).encode("utf-8", "surrogatepass")))
    file = read(bytes(data[:at]))
    if at < len(data):
        data[at] ^= 0x55
        file = read(bytes(data)) or file
    if file:
        use(file)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400))
@example(data=b"{" * 100_000)
@example(data=b'{"schema": "finegrain.compare/1", "designs": [{"name": "a", "locks": [{"lock": 3}]}]}')
@example(data=b'{"schema": "finegrain.compare/1", "designs": [{"locks": [{"lock": "b", "wait_us": NaN}]}]}')
@example(data=b"9" * 5000)
@example(data=b'{"a": ' + b"9" * 5000 + b"}")
@example(data=b"\xff\xfe" + b"a\x00" * 50)
def test_any_bytes(data: bytes) -> None:
    file = read(data)
    if file:
        use(file)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_json_with_something_wrong_in_it(data: st.DataObject) -> None:
    lock = {"lock": "rw:a", "acquisitions": 1, "contested": 1, "wait_us": 1.0, "wait_histogram_ns": [[1, 2]]}
    lock[data.draw(st.sampled_from([*lock, "held_by", "hold_us"]))] = data.draw(JSON)
    design = {"name": "a", "locks": [lock]}
    design[data.draw(st.sampled_from(["name", "locks", "x"]))] = data.draw(st.one_of(JSON, st.just([lock])))
    root = {"schema": "finegrain.compare/1", "designs": [design], "machine": {"cpus": 3}}
    root[data.draw(st.sampled_from([*root, "simulated_seconds", "seed"]))] = data.draw(
        st.one_of(JSON, st.just([design]))
    )
    file = read(json.dumps(root).encode())
    if file:
        use(file)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_own_json_with_something_wrong_in_it(data: st.DataObject) -> None:
    row = {
        "lock": "a",
        "role": "site",
        "wait_us": 1.0,
        "stack": ["f"],
        "histogram_ns": [[1, 2]],
        "pid": 3,
        "line": 1,
    }
    row[data.draw(st.sampled_from([*row, "site", "event", "count"]))] = data.draw(JSON)
    profile = {"name": "x", "format": "y", "rows": [row], "derived": {"a": "b"}, "meta": {}, "span_s": 2.0}
    profile[data.draw(st.sampled_from([*profile, "label", "title", "cpus"]))] = data.draw(
        st.one_of(JSON, st.just([row]))
    )
    root = {"schema": "finegrain.profile/1", "profiles": [profile, profile], "notes": {"y": ["a"]}}
    root[data.draw(st.sampled_from([*root, "lines"]))] = data.draw(st.one_of(JSON, st.just([profile])))
    figures = {"wait_us": 1.0, "count": data.draw(JSON)}
    diff = {"schema": "finegrain.diff/1", "profiles": ["a", "b"], "by": data.draw(st.sampled_from(BY))}
    diff["locks"] = data.draw(st.one_of(JSON, st.just([{"lock": "rw:a at b", "figures": [figures, None]}])))
    for document in (root, diff):
        file = read(json.dumps(document).encode())
        if file:
            use(file)
