"""What all tests share."""

from hypothesis import settings

# Machines are shared and noisy: how long an example takes says nothing. The same examples every time; to look for
# new ones, run with --hypothesis-profile=default.
settings.register_profile("finegrain", deadline=None, derandomize=True)
settings.load_profile("finegrain")
