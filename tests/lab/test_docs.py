"""The examples of docs/lab.md and docs/locks.md print what stands beside them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [(DOCS / name).read_text(encoding="utf-8") for name in ("lab.md", "locks.md")]
EXAMPLES = [
    example
    for page in PAGES
    for example in re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, re.DOTALL)
]


def test_there_are_five() -> None:
    assert len(EXAMPLES) == 5
    assert sum(page.count("```python") for page in PAGES) == 5


@pytest.mark.parametrize("number", range(5))
def test_an_example_prints_what_stands_beside_it(number: int) -> None:
    code, output = EXAMPLES[number]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == output
