import json
from typing import Any

import pytest

from finegrain.errors import UserError
from finegrain.profile.readers.own_json import read_own


def test_a_number_past_all_numbers_is_refused() -> None:
    with pytest.raises(UserError, match="1e999 is out of range"):
        read_own(b'{"schema": "finegrain.compare/1", "seed": 1e999}', "out.json")


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (
            {"schema": "finegrain.whatif/1", "profile": "before.txt"},
            "holds no profile: .* it is of, 'before.txt'",
        ),
        (
            {"schema": "finegrain.space/1"},
            "JSON with schema 'finegrain.space/1', not .* profile show and diff is read",
        ),
        ([1], "JSON with no schema"),
    ],
)
def test_what_holds_no_profile_is_refused_by_what_does(document: Any, why: str) -> None:
    with pytest.raises(UserError, match=f"^out.json: .*{why}"):
        read_own(json.dumps(document).encode(), "out.json")
