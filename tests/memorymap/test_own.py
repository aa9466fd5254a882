from pathlib import Path

import pytest

from finegrain.errors import UserError
from finegrain.machine.memory import Segment
from finegrain.memorymap.own import read_own

M = 1 << 20


def make(root: Path, iomem: str | None, blocks: dict[int, list[int]], memmap: bool = False) -> None:
    (root / "proc").mkdir()
    if iomem is not None:
        (root / "proc/iomem").write_text(iomem)
    system = root / "sys/devices/system"
    (system / "memory").mkdir(parents=True)
    (system / "memory/block_size_bytes").write_text("8000000\n")
    for node, numbers in blocks.items():
        for number in numbers:
            (system / f"node/node{node}/memory{number}").mkdir(parents=True)
    if memmap:
        entry = root / "sys/firmware/memmap/0"
        entry.mkdir(parents=True)
        (entry / "start").write_text("0x100000\n")
        (entry / "end").write_text("0xfffffff\n")
        (entry / "type").write_text("System RAM\n")


IOMEM = "00000000-00000fff : Reserved\n00100000-0fffffff : System RAM\n  01000000-0220bb07 : Kernel code\n"


def test_iomem_with_the_domains_of_sysfs(tmp_path: Path) -> None:
    make(tmp_path, IOMEM, {0: [0], 1: [1]})
    assert read_own(tmp_path).segments == [Segment(M, 128 * M, 0), Segment(128 * M, 256 * M, 1)]


def test_without_root_the_firmware_map(tmp_path: Path) -> None:
    make(tmp_path, "00000000-00000000 : System RAM\n", {}, memmap=True)
    found = read_own(tmp_path)
    assert (found.form, found.segments) == ("/sys/firmware/memmap", [Segment(M, 256 * M, 0)])


def test_neither_is_a_line_that_says_what_to_do(tmp_path: Path) -> None:
    make(tmp_path, "00000000-00000000 : System RAM\n", {})
    with pytest.raises(UserError, match=r"not root.*--memory-map FILE") as error:
        read_own(tmp_path)
    assert "\n" not in str(error.value)
