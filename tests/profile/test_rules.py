import pytest

from finegrain.errors import UserError
from finegrain.profile.rules import Rule, parse_rule


@pytest.mark.parametrize(
    "rule", ["", "sx:map", "sx:map wait", "wait > 3", "sx:map wait > x", "sx:map acquired > 3ms"]
)
def test_rules_that_are_none(rule: str) -> None:
    with pytest.raises(UserError, match="--fail-if"):
        parse_rule(rule)


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("rw:a b wait > +10%", 10.0, "percent"),
        ("rw:a b wait >= -3ms", -3000.0, "change"),
        ("rw:a b acquired < 0.5", 0.5, "value"),
    ],
)
def test_what_a_rule_says(text: str, value: float, kind: str) -> None:
    rule = parse_rule(text)
    assert (rule.text, rule.lock, rule.value, rule.kind) == (text, "rw:a b", value, kind)


@pytest.mark.parametrize(
    ("kind", "old", "new", "found"),
    [
        ("percent", 100.0, 150.0, 50.0),
        ("percent", 0.0, 1.0, float("inf")),
        ("percent", 0.0, 0.0, 0.0),
        ("change", 100.0, 30.0, -70.0),
        ("value", 100.0, 30.0, 30.0),
    ],
)
def test_what_is_held_against_the_bound(kind: str, old: float, new: float, found: float) -> None:
    assert Rule("", "a", "wait", ">", found, kind).broken(old, new) == (False, found)
    assert Rule("", "a", "wait", ">=", found, kind).broken(old, new) == (True, found)
