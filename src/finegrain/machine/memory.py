"""Where a machine's physical memory lies: segments of addresses, each in the memory domain of a socket."""

from typing import NamedTuple

from finegrain.errors import UserError

MIB = 1 << 20
GIB = 1 << 30
SUPERPAGE = 2 * MIB
LOW_START = 1 * MIB
"""First usable address: below it are firmware tables, the video window and real-mode start-up code."""
HOLE_START = 2 * GIB
HOLE_END = 4 * GIB
"""Two-socket servers keep 2 to 4 GB for devices and configuration space and map the memory behind it above 4 GB."""
DEFAULT_TOTAL = 512 * GIB


class Segment(NamedTuple):
    """Physical memory from `start` up to, not including, `end` (byte addresses, page-aligned) in `domain`."""

    start: int
    end: int
    domain: int


def default_segments(sockets: int = 2, total: int = DEFAULT_TOTAL) -> list[Segment]:
    """Lay out `total` bytes of memory over `sockets` equal domains as the firmware of a server does.

    Each socket has a consecutive share, in whole superpages; addresses from 2 to 4 GB are a hole, whose memory
    reappears at the end. With two sockets and 512 GB that makes domain 0 end and domain 1 begin at 258 GB
    (0x4080000000), as the affinity tables of such machines say. Memory that a kernel takes for itself at boot
    is not taken off. Raises UserError when a socket's share would be less than 16 MB.
    """
    share = total // sockets // SUPERPAGE * SUPERPAGE
    if share < 16 * MIB:
        raise UserError(
            f"memory of {total} bytes on {sockets} sockets: give each socket at least 16 MB ({16 * MIB} bytes)"
        )
    segments = []
    for domain in range(sockets):
        start, end = domain * share, (domain + 1) * share
        if start < HOLE_START:
            segments.append(Segment(max(start, LOW_START), min(end, HOLE_START), domain))
        if end > HOLE_START:
            shift = HOLE_END - HOLE_START
            segments.append(Segment(max(start, HOLE_START) + shift, end + shift, domain))
    return segments


def span(segments: list[Segment]) -> int:
    """Give the end of the last segment: the size in bytes of a direct map that covers them all."""
    return max(segment.end for segment in segments)
