"""Where a workload meets the kernel: builders that take the steps of a program on a machine."""
