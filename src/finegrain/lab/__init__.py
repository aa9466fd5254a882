"""The kernel and its locks from Python: small experiments on a simulated machine of your own.

Each lab makes a kernel, as far up as it needs, on a fresh `SimulatedMachine`, and runs operations on its threads.
`superpage_holds` and `finegrain.lab.profile` read the kernel of any stopped machine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finegrain.lab.holds import superpage_holds
    from finegrain.lab.locks import LockScripts
    from finegrain.lab.memory import PhysicalMemory
    from finegrain.lab.pmaps import Pmaps
    from finegrain.lab.profile import read_charged, read_names, read_profile, read_pv_waits, reset_profile
    from finegrain.lab.pvspace import pv_space
    from finegrain.lab.spaces import AddressSpaces

__all__ = [
    "AddressSpaces",
    "LockScripts",
    "PhysicalMemory",
    "Pmaps",
    "pv_space",
    "read_charged",
    "read_names",
    "read_profile",
    "read_pv_waits",
    "reset_profile",
    "superpage_holds",
]

# Loaded when asked for: a comparison needs the profile alone, and each lab names acquisition points of its own.
_HOMES = {
    "AddressSpaces": "spaces",
    "LockScripts": "locks",
    "PhysicalMemory": "memory",
    "Pmaps": "pmaps",
    "pv_space": "pvspace",
    "superpage_holds": "holds",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'profile')}"), name)
