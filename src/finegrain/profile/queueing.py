"""Closed forms for threads that think, take one of K equal locks, hold it and go back to thinking.

Times may be in any one unit.  Holds are exponential, locks are chosen uniformly and served in any order
that does not look at the hold; thinking may be distributed in any way.  With K = 1 this is M/M/1//N.
Source: Reiser and Lavenberg, "Mean-value analysis of closed multichain queuing networks", JACM 1980.
"""


def closed(threads: int, locks: int, hold: float, think: float) -> tuple[float, float]:
    """Acquisitions per unit of time, and the mean wait before a hold: exact mean-value analysis.

    R(n) = S (1 + Q(n-1)), X(n) = n / (Z + R(n)), Q(n) = X(n) R(n) / K.
    """
    queue, rate, wait = 0.0, 0.0, 0.0
    for n in range(1, threads + 1):
        wait = hold * queue
        rate = n / (think + hold + wait)
        queue = rate * (hold + wait) / locks
    return rate, wait


def think_time(threads: int, locks: int, hold: float, rate: float) -> float | None:
    """The thinking time at which `threads` take `rate` locks per unit of time.

    None when they could not take so many with no thinking at all: N K / ((N + K - 1) S) is the most.
    """
    if rate >= closed(threads, locks, hold, 0.0)[0]:
        return None
    low, high = 0.0, threads / rate  # the cycle N/X is never shorter than the thinking
    for _ in range(200):
        middle = (low + high) / 2
        if closed(threads, locks, hold, middle)[0] > rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def open_wait(locks: int, hold: float, rate: float) -> float | None:
    """The mean wait with threads without end, M/M/1: S rho / (1 - rho); None from saturation on."""
    use = rate * hold / locks
    return hold * use / (1 - use) if use < 1 else None
