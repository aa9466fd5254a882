"""What a finer lock is worth, before you build it.

`finegrain.compare(...)` is the main job; see `finegrain.study.experiment.compare`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finegrain.study.experiment import compare as compare
    from finegrain.study.result import Comparison as Comparison

__version__ = "0.1.0"
__all__ = ["Comparison", "compare"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the readers of other systems' profiles need none of it.
    if name == "compare":
        from finegrain.study.experiment import compare

        return compare
    if name == "Comparison":
        from finegrain.study.result import Comparison

        return Comparison
    raise AttributeError(f"module 'finegrain' has no attribute {name!r}")
