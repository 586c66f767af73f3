"""What all tests share."""

from hypothesis import settings

# A busy machine is no failure; a test that hangs has the suite's own timeout.
settings.register_profile("everfresh", deadline=None)
settings.load_profile("everfresh")
