"""finegrain's own JSON, of any command whose result holds a profile."""

from typing import Any

from finegrain.errors import UserError
from finegrain.profile.readers import compare_json, profile_json
from finegrain.profile.table import Profile

KNOWN = "the JSON of finegrain compare, profile show and diff is read"


def read_own(data: bytes, source: str) -> tuple[list[Profile], dict[str, list[str]]]:
    """The profiles of a result and what is to be known of them; raises UserError where there are none."""
    document = compare_json.parsed(data, source)
    schema: Any = document.get("schema") if isinstance(document, dict) else None
    try:
        if schema in profile_json.PROFILES:
            return profile_json.read_profiles(document, source)
        if schema in profile_json.DIFFS:
            return profile_json.read_diff(document, source)
        if isinstance(schema, str) and schema.startswith("finegrain.whatif/"):
            made_of = str(document.get("profile"))[:80]
            raise UserError(
                f"an answer of finegrain whatif holds no profile: give the one that it is of, {made_of!r}"
            )
        if schema not in (*compare_json.SCHEMAS, *compare_json.SWEEPS):
            known = f"schema {schema!r:.60}" if schema is not None else "no schema"
            raise UserError(f"JSON with {known}, not a result of 'finegrain compare' ({KNOWN})")
        return compare_json.profiles_of(document, source), {"finegrain compare": list(compare_json.NOTES)}
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
