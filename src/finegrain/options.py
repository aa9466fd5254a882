"""What a kernel is built with beside its design of the PV list lock: where sources differ, or no source says."""

import math
from dataclasses import dataclass

from finegrain.errors import UserError

COW = ("held", "unlocked")
# whose the files are that builders map and read: see replay/trees.py
IMAGES = ("private", "shared", "mixed")
_MAX_LISTINGS = 1e6
_MAX_PFS_NODES = 100_000


@dataclass(frozen=True)
class KernelOptions:
    """Choices that are the same for all designs of a comparison. UserError for a value that cannot be."""

    # Is the backing object locked while copy-on-write copies its page and lets go of it? The sources of 2017 to 2018
    # say held, those from the middle of October 2019 on unlocked; head lies between, and held is taken.
    cow: str = "held"
    # In how many seconds the page daemon looks at every active page without any shortage, FreeBSD's
    # vm.pageout_update_period; 0: never.
    active_scan_s: float = 600.0
    # How often a second somebody on the machine lists all processes, as ps does. No recording shows it: 0 until
    # calibrated.
    listings_per_s: float = 0.0
    # How many nodes of no process pseudofs's cache holds all the time, which every process that ends walks. No
    # recording shows it: the root of a procfs for each of 104 jails, until calibrated [A].
    pfs_nodes: int = 104

    # How often a second somebody reads the address maps of all processes, and counts what is resident, as procstat -v
    # does. No recording shows it: 0 until calibrated.
    map_readings_per_s: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        if self.cow not in COW:
            raise UserError(f"cow {self.cow!r}: there are {' and '.join(COW)}")
        if not (self.active_scan_s == 0 or 1 <= self.active_scan_s <= 1e6):
            raise UserError(f"active scan of {self.active_scan_s:g} s: give 1 to 1000000, or 0 for none")
        if not 0 <= self.listings_per_s <= _MAX_LISTINGS or math.isnan(self.listings_per_s):
            raise UserError(f"{self.listings_per_s:g} listings a second: give 0 to {_MAX_LISTINGS:g}")
        if not 0 <= self.map_readings_per_s <= _MAX_LISTINGS or math.isnan(self.map_readings_per_s):
            raise UserError(
                f"{self.map_readings_per_s:g} readings of maps a second: give 0 to {_MAX_LISTINGS:g}"
            )
        if not 0 <= self.pfs_nodes <= _MAX_PFS_NODES:
            raise UserError(f"{self.pfs_nodes} nodes in pseudofs's cache: give 0 to {_MAX_PFS_NODES}")

    def others(self) -> list[str]:
        """Name the options that are not the defaults, with their values."""
        usual = KernelOptions()
        return [
            f"{name.replace('_', ' ')} {value}"
            for name, value in vars(self).items()
            if value != getattr(usual, name)
        ]
