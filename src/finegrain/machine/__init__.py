"""What the kernel runs on: the seam and the machines behind it."""
