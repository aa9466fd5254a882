"""Shapes of the simulated machine: sockets x cores x hardware threads."""

from dataclasses import dataclass

from finegrain.errors import UserError

MAX_CPUS = 1024
# [A] A socket of the machines that this stands for has at most this many hardware threads.
CPUS_PER_SOCKET = 64


@dataclass(frozen=True)
class Shape:
    """Sockets, cores a socket and hardware threads a core."""

    sockets: int = 2
    cores: int = 26
    threads: int = 2

    @property
    def cpus(self) -> int:
        """Number of CPUs, as FreeBSD counts them: hardware threads."""
        return self.sockets * self.cores * self.threads

    def __str__(self) -> str:
        """Give the shape as `--shape` takes it."""
        return f"{self.sockets}x{self.cores}x{self.threads}"


DEFAULT_SHAPE = Shape()  # the measured machine, as far as it is known


def shape_of(cpus: int) -> Shape:
    """Choose a shape of this many CPUs.

    Two hardware threads a core where the number allows; two sockets from 16 CPUs on, and as many more (a power of
    two) as it takes to have at most 64 CPUs a socket; 104 CPUs are the default machine.
    """
    if not 1 <= cpus <= MAX_CPUS:
        raise UserError(f"{cpus} CPUs: the simulated machine has 1 to {MAX_CPUS}")
    if cpus == DEFAULT_SHAPE.cpus:
        return DEFAULT_SHAPE
    sockets = 1 if cpus < 16 else 2
    while cpus > sockets * CPUS_PER_SOCKET and sockets < 16:
        sockets *= 2
    while sockets > 1 and cpus % sockets:
        sockets //= 2
    each = cpus // sockets
    return Shape(sockets, each // 2, 2) if each % 2 == 0 else Shape(sockets, each, 1)


def parse_shape(text: str) -> Shape:
    """Read `SOCKETSxCORESxTHREADS`."""
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise UserError(f"shape {text!r}: give SOCKETSxCORESxTHREADS, for example 2x26x2")
    sockets, cores, threads = (int(part) for part in parts)
    if not 1 <= sockets <= 16 or cores < 1 or threads not in (1, 2) or sockets * cores * threads > MAX_CPUS:
        raise UserError(
            f"shape {text!r}: 1 to 16 sockets, 1 or 2 threads a core, at most {MAX_CPUS} CPUs in all"
        )
    return Shape(sockets, cores, threads)
