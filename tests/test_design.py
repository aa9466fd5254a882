import pytest

from finegrain.design import LAYOUTS, OPTIONS, Design, parse_design, parse_designs
from finegrain.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("head", Design("head", "hashed", locks=256)),
        ("head+batch", Design("head+batch", "hashed", locks=256, batch=True)),
        ("superpage", Design("superpage", "superpage")),
        ("superpage+batch", Design("superpage+batch", "superpage", batch=True)),
        ("superpage:lock=rw", Design("superpage:lock=rw", "superpage", lock="rw")),
        ("hashed:locks=4096,padded", Design("hashed:locks=4096,padded", "hashed", locks=4096, padded=True)),
        ("hashed", Design("hashed", "hashed", locks=256)),
    ],
)
def test_spellings(text: str, expected: Design) -> None:
    assert parse_design(text) == expected


def test_options_are_in_the_fields_and_the_name_is_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIONS, "table", ("sparse", "pointers"))
    monkeypatch.setitem(OPTIONS, "lock", ("rw", "mtx8"))
    text = "superpage:table=pointers,lock=mtx8+batch"
    design = parse_design(text)
    assert design == Design(text, "superpage", table="pointers", lock="mtx8", batch=True)
    assert parse_design("superpage:lock=mtx8").table == "sparse"


def test_every_option_of_a_layout_is_a_field_and_has_values() -> None:
    for spelling, layout in LAYOUTS.items():
        design = parse_design(spelling)
        for option in layout.options:
            assert hasattr(design, option)
            assert option in OPTIONS


def test_the_hashed_array_is_only_there_where_locks_are_hashed() -> None:
    assert parse_design("hashed:locks=7").locks == 7
    assert parse_design("superpage").locks == 0


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("heap", ", ".join(LAYOUTS)),
        ("head+fast", "'+batch'"),
        ("head:locks=3", "allows: none"),
        ("hashed:locks=0", "1 to"),
        ("hashed:locks=x", "1 to"),
        ("hashed:locks", "needs a value"),
        ("hashed:padded=1", "takes no value"),
        ("hashed:locks=2,locks=3", "given twice"),
        ("superpage:lock=mtx9", "lock=mtx9: allowed: rw"),
        ("superpage:table=dense", "table=dense: allowed: sparse"),
        ("superpage:locks=3", "superpage allows: table, lock"),
        ("hashed:locks=\N{SUPERSCRIPT TWO}", "1 to 1048576"),
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
