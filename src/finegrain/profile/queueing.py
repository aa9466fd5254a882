"""Closed forms for threads that think, take one of K equal locks, hold it and go back to thinking.

Times may be in any one unit.  Holds are exponential, locks are chosen uniformly and served in any order
that does not look at the hold; thinking may be distributed in any way.  With K = 1 this is M/M/1//N.
Sources: Reiser and Lavenberg, "Mean-value analysis of closed multichain queuing networks", JACM 1980; for what an
arrival sees, Sevcik and Mitrani, "The distribution of queuing network states at input and output instants", JACM 1981.
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


def partitioned(threads: int, parts: int, hold: float, think: float) -> tuple[float, float]:
    """Acquisitions per unit of time, and the mean wait, when every thread keeps to one of `parts` locks.

    Threads are spread as evenly as they can be; a thread that has a lock for itself never waits.
    """
    each, more = divmod(threads, parts)
    rate, waiting = 0.0, 0.0
    for locks, size in ((more, each + 1), (parts - more, each)):
        if locks and size:
            own_rate, wait = closed(size, 1, hold, think)
            rate += locks * own_rate
            waiting += locks * own_rate * wait
    return rate, waiting / rate


def met(threads: int, locks: int, hold: float, think: float) -> float:
    """How often an acquisition finds its lock held: as often as it is held with one thread fewer."""
    return closed(threads - 1, locks, hold, think)[0] * hold / locks


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
