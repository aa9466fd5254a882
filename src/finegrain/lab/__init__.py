"""The kernel and its locks from Python."""
