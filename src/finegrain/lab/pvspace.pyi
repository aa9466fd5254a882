from collections.abc import Iterable
from typing import NamedTuple

from finegrain.design import Design

class PVRegion(NamedTuple):
    what: str
    domain: int
    start: int
    bytes: int
    used: int

class PVSpace(NamedTuple):
    reserved: int
    lock_bytes: int
    struct_bytes: int
    superpages: int
    regions: list[PVRegion]

def pv_space(design: str | Design, segments: Iterable[tuple[int, int, int]]) -> PVSpace: ...
