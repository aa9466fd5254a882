"""Does a change leave the results alone, byte for byte?

    python tests/golden.py record DIRECTORY     # with the code as it was
    python tests/golden.py check DIRECTORY      # with the code as it is: names each case that differs

A case is one `finegrain compare --seconds 0.05 --seed 7 --json`: three default designs and two hashed ones, for private
and shared images, on 1, 16, 104 and 208 CPUs. What is left out is how long the run itself took. `--cpus` and
`--images` choose some of the cases; `--program` is the finegrain to run (default: the one beside this Python).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DESIGNS = "head,superpage,superpage+batch,hashed:locks=4096,hashed:locks=1024,padded"
CPUS = (1, 16, 104, 208)
IMAGES = ("private", "shared")
OWN_TIMES = ("wall_s", "run_s")


def without_own_times(value: Any) -> Any:
    """Give a document without the times of the run itself."""
    if isinstance(value, dict):
        return {key: without_own_times(item) for key, item in value.items() if key not in OWN_TIMES}
    if isinstance(value, list):
        return [without_own_times(item) for item in value]
    return value


def run(program: str, cpus: int, images: str) -> str:
    """Run one case; its document as text."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out.json"
        options = ["--designs", DESIGNS, "--cpus", str(cpus), "--images", images, "--seconds", "0.05"]
        command = [program, "compare", *options, "--seed", "7", "--json", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.dumps(without_own_times(json.loads(out.read_text())), indent=1) + "\n"


def first_difference(before: str, after: str) -> str:
    """Say where two documents part."""
    for number, (old, new) in enumerate(zip(before.splitlines(), after.splitlines(), strict=False), 1):
        if old != new:
            return f"line {number}: {old.strip()} -> {new.strip()}"
    return f"{len(before.splitlines())} lines -> {len(after.splitlines())}"


def main() -> int:
    """Record or check the cases; 1 when one differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("record", "check"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--cpus", type=int, nargs="+", default=CPUS)
    parser.add_argument("--images", nargs="+", choices=IMAGES, default=IMAGES)
    parser.add_argument("--program", default=str(Path(sys.executable).parent / "finegrain"))
    asked = parser.parse_args()
    asked.directory.mkdir(parents=True, exist_ok=True)
    differ = 0
    for images in asked.images:
        for cpus in asked.cpus:
            path = asked.directory / f"{images}-{cpus}.json"
            document = run(asked.program, cpus, images)
            if asked.what == "record":
                path.write_text(document)
                print(f"{images} {cpus}: recorded")
            elif document == path.read_text():
                print(f"{images} {cpus}: the same")
            else:
                differ += 1
                print(f"{images} {cpus}: DIFFERS, {first_difference(path.read_text(), document)}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
