"""What the fixtures of the pytest plugin give, for the annotations of tests; they work without pytest too.

The fixtures themselves are in `everfresh_pytest`, which pytest finds when Everfresh is installed.
"""

from everfresh.testing.draining import Drain, Drained
from everfresh.testing.recording import RecordEvents
from everfresh.testing.touching import AssertTouches, AssertUntouched

__all__ = ["AssertTouches", "AssertUntouched", "Drain", "Drained", "RecordEvents"]
