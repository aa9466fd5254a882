"""This machine's own memory map, from what Linux shows of it."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from finegrain.errors import UserError
from finegrain.memorymap.read import MemoryMap, memmap_lines, read_numbered

ROOT: Final = Path("/")


def read_own(root: Path = ROOT) -> MemoryMap:
    """Read this machine's map: /proc/iomem, for root; else /sys/firmware/memmap. Domains are those of sysfs.

    UserError where neither can be read.
    """
    iomem, firmware = root / "proc/iomem", root / "sys/firmware/memmap"
    blocks = list(_node_blocks(root / "sys/devices/system"))
    tried = []
    for path, lines in ((iomem, _lines), (firmware, memmap_lines)):
        try:
            return read_numbered(chain(lines(path), blocks), str(path))
        except (OSError, UserError) as error:
            tried.append(
                str(error).removeprefix(f"{path}: ")
                if isinstance(error, UserError)
                else f"{path}: unreadable"
            )
    raise UserError(
        f"this machine's memory map cannot be read ({'; '.join(tried)}): give one with --memory-map FILE"
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    return enumerate(path.read_text().splitlines(), 1)


def _node_blocks(system: Path) -> Iterator[tuple[int, str]]:
    """Give which blocks of memory each NUMA node has; nothing where sysfs does not tell."""
    try:
        size = int((system / "memory/block_size_bytes").read_text(), 16)
    except (OSError, ValueError):
        return
    for node in sorted((system / "node").glob("node[0-9]*")):
        for block in sorted(node.glob("memory[0-9]*")):
            number = block.name.removeprefix("memory")
            if number.isdecimal():
                yield 0, f"{node.name} block {int(number) * size:#x} {size:#x}"
