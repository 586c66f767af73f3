"""The pytest plugin of Everfresh: fixtures for tests of code that uses a cache.

It stands outside the package so that a run of pytest which uses none of the fixtures imports nothing of Everfresh. What
the fixtures give is in `everfresh.testing.plugin`, where tests take the names for their annotations from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

# Each fixture imports what it gives when it is asked for: see above.
# ruff: noqa: PLC0415


@pytest.fixture
def everfresh_cache() -> NoReturn:
    """The cache that the test is about: each project says which, by a fixture of this name."""
    pytest.fail(
        "everfresh_cache: nobody has said which cache is meant. Write a fixture of this name into conftest.py that "
        "gives your Cache:\n\n"
        "    @pytest.fixture\n"
        "    def everfresh_cache():\n"
        "        return my_application.cache\n",
        pytrace=False,
    )


@pytest.fixture
def assert_touches(everfresh_cache: Any) -> object:  # noqa: ANN401 - the type would import Everfresh
    """Assert what events touch: `assert_touches(event, keys)`; see `everfresh.testing.plugin.AssertTouches`."""
    from everfresh.testing.plugin import AssertTouches

    return AssertTouches(everfresh_cache)


@pytest.fixture
def assert_untouched(everfresh_cache: Any) -> object:  # noqa: ANN401 - as above
    """Assert what they leave alone: `assert_untouched(event, keys)`; see `everfresh.testing.plugin.AssertUntouched`."""
    from everfresh.testing.plugin import AssertUntouched

    return AssertUntouched(everfresh_cache)


@pytest.fixture
def drain(everfresh_cache: Any) -> Iterator[object]:  # noqa: ANN401 - as above
    """Refresh all that is due; awaited or, as `drain.blocking`, called. See `everfresh.testing.plugin.Drain`."""
    from everfresh.testing.plugin import Drain

    with Drain.of(everfresh_cache) as drain:
        yield drain


@pytest.fixture
def record_events(everfresh_cache: Any) -> object:  # noqa: ANN401 - as above
    """Record what is published in a `with` block. See `everfresh.testing.plugin.RecordEvents`."""
    from everfresh.testing.plugin import RecordEvents

    return RecordEvents(everfresh_cache)
