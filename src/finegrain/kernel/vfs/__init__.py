"""Pipes and descriptors. Compiled code only; what it offers stands in `__init__.pxd`."""
