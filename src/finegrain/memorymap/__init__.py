"""Maps of a machine's physical memory, as kernels and firmware tell them: text -> segments by memory domain."""
