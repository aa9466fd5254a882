"""The pmap. Compiled code only; what it offers stands in `__init__.pxd`."""
