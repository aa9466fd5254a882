import pytest

from finegrain.errors import UserError
from finegrain.profile.spans import agreed_span, given_spans, span_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400.0), ("5400s", 5400.0), ("1.5h", 5400.0), ("7", 7.0), (" 20 ms ", 0.02), ("1d", 86400.0)],
)
def test_spans(text: str, seconds: float) -> None:
    assert span_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "0s", "-1s", "1x", "s", "1e9", "nan"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(UserError, match="give a time"):
        span_s(text)


def test_a_span_for_each_profile_and_empty_places() -> None:
    assert given_spans(None, 2) == [None, None]
    assert given_spans("1m,,2", 3) == [60.0, None, 2.0]
    with pytest.raises(UserError, match="2 spans for 3 profiles"):
        given_spans("1,2", 3)


def test_a_span_that_the_profile_states_is_not_contradicted() -> None:
    assert agreed_span(None, None, "a") is None
    assert agreed_span(None, 30.0, "a") == 30.0
    assert agreed_span(10.0, None, "a") == 10.0
    assert agreed_span(30.0, 30.021, "a") == 30.0
    with pytest.raises(UserError, match=r"a says that it was taken for 30.021 s, and --span says 10 s"):
        agreed_span(10.0, 30.021, "a")
