"""What is mapped in one address space, followed while a recording is compiled."""

from bisect import bisect_left, bisect_right
from typing import NamedTuple

ANONYMOUS = -1
SPECIAL = -2  # vdso and the like: there in Linux, not in the replay


class Region(NamedTuple):
    """Mapped pages start..end (end not included) of one kind."""

    start: int
    end: int
    prot: int  # PROT_* bits
    backing: int  # file index, ANONYMOUS or SPECIAL
    skew: int  # file page less page; 0 for what has no file
    stack: bool = False


class Space:
    """Regions that do not overlap, in order of address."""

    __slots__ = ("ends", "heap_end", "regions", "starts")

    def __init__(self) -> None:
        """Begin with nothing mapped."""
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.regions: list[Region] = []
        self.heap_end = 0  # page; 0: not known yet

    def copy(self) -> "Space":
        """Return a space with the same regions, as fork gives the child."""
        other = Space()
        other.starts, other.ends = self.starts[:], self.ends[:]
        other.regions, other.heap_end = self.regions[:], self.heap_end
        return other

    def overlapping(self, start: int, end: int) -> tuple[int, int]:
        """Return the slice of regions that share a page with start..end."""
        return bisect_right(self.ends, start), bisect_left(self.starts, end)

    def find(self, page: int) -> Region | None:
        """Return the region of `page`."""
        i = bisect_right(self.starts, page) - 1
        return self.regions[i] if i >= 0 and page < self.ends[i] else None

    def _replace(self, start: int, end: int, inside: list[Region]) -> bool:
        """Put `inside` where start..end was; return whether anything but SPECIAL was there."""
        i, j = self.overlapping(start, end)
        there = False
        new = inside
        if i < j:
            there = any(region.backing != SPECIAL for region in self.regions[i:j])
            first, last = self.regions[i], self.regions[j - 1]
            if first.start < start:
                new = [first._replace(end=start), *new]
            if last.end > end:
                new = [*new, last._replace(start=end)]
        self.regions[i:j] = new
        self.starts[i:j] = [region.start for region in new]
        self.ends[i:j] = [region.end for region in new]
        return there

    def map(self, region: Region) -> bool:
        """Map `region`, replacing what is there; return whether anything but SPECIAL was."""
        return self._replace(region.start, region.end, [region])

    def unmap(self, start: int, end: int) -> bool:
        """Unmap start..end; return whether anything but SPECIAL was."""
        return self._replace(start, end, [])

    def protect(self, start: int, end: int, prot: int) -> bool:
        """Give what is mapped in start..end the protection `prot`; return whether anything but SPECIAL was."""
        i, j = self.overlapping(start, end)
        changed = [
            region._replace(start=max(region.start, start), end=min(region.end, end), prot=prot)
            for region in self.regions[i:j]
        ]
        return self._replace(start, end, changed)

    def gap(self, page: int) -> tuple[int, int]:
        """Return the unmapped pages low..high around the unmapped `page`."""
        i = bisect_right(self.starts, page)
        low = self.ends[i - 1] if i else 1
        high = self.starts[i] if i < len(self.starts) else (1 << 35)
        return low, high
