from finegrain.study.measure import holdings
from finegrain.study.result import Holding

FILES = ["/bin/a", "/bin/b"]


def test_what_a_superpage_holds_is_told_by_keys_most_pages_first() -> None:
    counts = {
        ("file", 1, 0): 10,
        ("file", 0, 4): 50,
        ("file", 1, 7): 30,
        ("kernel", -1, -1): 50,
        ("anonymous", -1, -1): 50,
    }
    assert holdings(counts, FILES) == [
        Holding("file", "/bin/a", copies=1, pages=50),
        Holding("anonymous", None, copies=1, pages=50),
        Holding("kernel", None, copies=1, pages=50),
        Holding("file", "/bin/b", copies=2, pages=40),
    ]


def test_a_superpage_that_is_free_holds_nothing() -> None:
    assert holdings({}, FILES) == []
