"""A worker of another process builds entries again from what the store holds of their arguments."""

import os

import pytest

from everfresh import Cache
from everfresh.testing.waiting import until
from tests.cache.declared import ARGUMENTS_CHANGED, CALLS, Built, declare
from tests.cache.processes import running

Results = list[tuple[str, Built]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Results]:
    """What each call gave here, and what it gave when the worker of another process had refreshed it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'cache.db'}"
    with Cache(url) as cache, running("tests.cache.worker_process", url):
        functions = declare(cache)
        ours = [(name, functions[name](*args, **kwargs)) for name, args, kwargs in CALLS]
        cache.blocking.invalidate(ARGUMENTS_CHANGED)

        def is_refreshed() -> bool:
            entries = [functions[name].entry(*args, **kwargs) for name, args, kwargs in CALLS]
            return all(entry is not None and entry.version == 2 for entry in entries)

        until(is_refreshed, what="every entry refreshed by the other process")
        return ours, [(name, functions[name](*args, **kwargs)) for name, args, kwargs in CALLS]


def test_the_worker_builds_with_equal_arguments(results: tuple[Results, Results]) -> None:
    """A list stays a list, a Point a Point, 2**70 an int, a default a default."""
    ours, theirs = results

    assert [(name, built.arguments) for name, built in theirs] == [(name, built.arguments) for name, built in ours]


def test_the_worker_was_another_process(results: tuple[Results, Results]) -> None:
    """Else the test above would prove nothing."""
    ours, theirs = results

    assert {built.pid for _, built in ours} == {os.getpid()}
    assert os.getpid() not in {built.pid for _, built in theirs}
