"""What all tests share."""

from hypothesis import settings

# Machines are shared and noisy: how long an example takes says nothing.
settings.register_profile("finegrain", deadline=None)
settings.load_profile("finegrain")
