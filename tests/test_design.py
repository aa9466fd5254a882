import pytest

from finegrain.design import Design, parse_design, parse_designs
from finegrain.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("head", Design("head", 256)),
        ("head+batch", Design("head+batch", 256, batch=True)),
        ("superpage", Design("superpage", 0)),
        ("superpage+batch", Design("superpage+batch", 0, batch=True)),
        ("superpage:table=sparse,lock=rw", Design("superpage:table=sparse,lock=rw", 0)),
        ("hashed:locks=4096,padded", Design("hashed:locks=4096,padded", 4096, padded=True)),
        ("hashed", Design("hashed", 256)),
    ],
)
def test_spellings(text: str, expected: Design) -> None:
    assert parse_design(text) == expected


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("heap", "head, hashed, superpage"),
        ("head+fast", "'+batch'"),
        ("head:locks=3", "allows: none"),
        ("hashed:locks=0", "1 to"),
        ("hashed:locks=x", "1 to"),
        ("hashed:locks", "needs a value"),
        ("hashed:padded=1", "takes no value"),
        ("hashed:locks=2,locks=3", "given twice"),
        ("superpage:lock=mtx8", "allowed: rw"),
        ("", "unknown layout"),
    ],
)
def test_refusals_name_what_is_allowed(text: str, names: str) -> None:
    with pytest.raises(UserError, match=None) as error:
        parse_design(text)
    assert names in str(error.value)
    assert "\n" not in str(error.value)


def test_lists_split_at_commas_outside_options() -> None:
    designs = parse_designs("head,hashed:locks=512,padded,superpage+batch")
    assert [d.name for d in designs] == ["head", "hashed:locks=512,padded", "superpage+batch"]


@pytest.mark.parametrize("text", ["", ",", "head,head", "head,,nothing"])
def test_bad_lists(text: str) -> None:
    with pytest.raises(UserError):
        parse_designs(text)
