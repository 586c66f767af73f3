"""django-cachalot: every query of the ORM is cached, and dropped when one of its tables is written to.

By its documentation it is only to be installed, with a cache that processes share: here Redis, through Django's own
backend. It caches queries and nothing else, so a body is run by the query: as a function of SQL, which Django lets an
application register with SQLite. What a call depends on is then the table, and any save of a row of it drops it; tags
mean nothing to it. Rows are saved in transactions, since outside of them it invalidates before it writes.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.adapter import Place
from benchmarks.peers.django_project import SEED, DjangoAdapter, check_once, items_of, model, open_project, save_fact
from benchmarks.peers.redis_records import n_records
from django.db import connection
from django.db.backends.signals import connection_created
from django.db.models import Func, TextField, Value

_FUNCTION = "body_of"


class Cachalot(DjangoAdapter):
    """django-cachalot on Redis."""

    offers = frozenset({"function", "tag_function", "lists", "processes", "count"})

    def __init__(self, url: str) -> None:
        self._url = url
        self._bodies: dict[str, Callable[..., Any]] = {}
        connection_created.connect(self._register, weak=False)

    def _register(self, connection: Any, **_: Any) -> None:
        connection.connection.create_function(_FUNCTION, 2, self._run)

    def _run(self, name: str, args: str) -> str:
        return json.dumps(self._bodies[name](*json.loads(args)))

    def cached(
        self,
        body: Callable[..., Any],
        *,
        tags: Sequence[str] = (),
        expires_s: float | None = None,
    ) -> Callable[..., Any]:
        """A query that computes the body."""
        if expires_s is not None:
            # There is one lifetime for all queries: CACHALOT_TIMEOUT.
            raise NotImplementedError
        name = f"{body.__module__}.{body.__qualname__}"
        self._bodies[name] = body
        facts = model("Fact").objects

        def function(*args: Any) -> Any:
            computed = Func(Value(name), Value(json.dumps(args)), function=_FUNCTION, output_field=TextField())
            found = facts.annotate(computed=computed).values_list("computed", flat=True).get(name=SEED)
            return json.loads(found)

        return function

    def invalidate_call(self, function: Callable[..., Any], *args: Any) -> None:
        """Save a row of the table."""
        save_fact("changed")

    def invalidate_tag(self, tag: str) -> None:
        """Save a row of the table."""
        save_fact(tag)

    def lists(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """The query itself; `load` is called beside each one that reaches the database, for who counts them."""

        def listed(section: str, limit: int) -> list[int]:
            def beside(execute: Any, *asked: Any) -> Any:
                load(section, limit)
                return execute(*asked)

            with connection.execute_wrapper(beside):
                return list(items_of(section, limit).order_by("pk").values_list("pk", flat=True))

        return listed

    def n_kept(self) -> int:
        """What the database holds."""
        return n_records(self._url)


def open_peer(place: Place) -> Cachalot:
    """All of one database of Redis, and one of SQLite."""
    check_once()
    open_project(
        place,
        "cachalot",
        CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": place.redis_url}},
    )
    return Cachalot(place.redis_url)
