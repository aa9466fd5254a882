"""What a finer lock is worth, before you build it."""
