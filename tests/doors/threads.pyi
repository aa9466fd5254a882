class LockStress:
    """Two threads or more that use every kind of lock at random on a machine of real threads."""

    def __init__(self, threads: int, *, seed: int = 1, fault: str = "") -> None: ...
    def run(self, seconds: float, *, grace: float = 30) -> dict[str, int]:
        """Run for so long, check what must hold at the end, and tell how often each thing was done."""
