"""Errors of the machines."""


class KernelPanic(RuntimeError):  # noqa: N818 - the field's word
    """An internal inconsistency, or a deadlock among the threads of the kernel, stopped the run.

    The message names the reason and, a line each, the threads with what they want and hold.
    """
