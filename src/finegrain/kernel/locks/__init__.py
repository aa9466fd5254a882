"""The locks of the kernel. Compiled code only; what it offers stands in `__init__.pxd`."""
