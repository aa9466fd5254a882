import json

from finegrain.profile.whatif import Split, whatif
from finegrain.report.whatif import as_json, text
from make_profile import BUSY, holds_profile


def test_the_lock_that_saturates_next() -> None:
    page = text(whatif(BUSY, [Split("pv list", 1, 16)]))
    assert "Saturates next: sx:map, held 30.00% of the time: full at 3.33 x" in page
    assert "rw:objects (2 at a time)" in page


def test_without_cpus_threads_have_no_end() -> None:
    answer = whatif(holds_profile({"rw:a": (1000, 5e5, None)}, span_s=1.0), [Split("a", 1, 2)])
    assert "without end" in text(answer)


def test_assumptions_are_printed_and_json_holds_everything() -> None:
    answer = whatif(BUSY, [Split("pv list", 1, 512), Split("sx:map", 1, 2)], cpus=16, span=10.0)
    page = text(answer)
    assert "exclusive" in page
    assert "16 threads, each" in page
    document = json.loads(as_json(answer))
    assert [split["then"] for split in document["splits"]] == [512, 2]
    assert document["span_s"] == 10.0
    assert "16 threads, each" in document["assumptions"][0]


def test_whose_cpus_they_are_is_said() -> None:
    assert "104 threads, the profile's CPUs, each" in text(whatif(BUSY, [Split("pv list", 1, 512)]))
