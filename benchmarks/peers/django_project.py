"""A Django project in the folder of a place: SQLite for the rows, as Django's documentation recommends it for servers.

The write-ahead log lets others write while somebody reads; a transaction takes the write lock when it begins, and
waits for it rather than fails.
"""

import fcntl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import django
from benchmarks.peers.adapter import Adapter, Place
from django.apps import apps
from django.conf import settings
from django.db import connection, connections, transaction

APP = "django_shop"
SEED = "seed"
"""The name of a fact that is always there."""
_WAITS_S = 30


def open_project(place: Place, app: str, **options: Any) -> None:
    """Set Django up with the app of a library, and make the tables if nobody has yet."""
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(place.folder) / "shop.sqlite3"),
                "OPTIONS": {
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                    "transaction_mode": "IMMEDIATE",
                    "timeout": _WAITS_S,
                },
            }
        },
        INSTALLED_APPS=[app, f"benchmarks.peers.{APP}"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        **options,
    )
    django.setup()
    with (Path(place.folder) / "shop.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make_tables()
    connections.close_all()


def _make_tables() -> None:
    if f"{APP}_fact" in connection.introspection.table_names():
        return
    with connection.schema_editor() as editor:
        for made in apps.get_app_config(APP).get_models():
            editor.create_model(made)
    save_fact(SEED)


def model(name: str) -> Any:
    """The model; models can be imported only after the setup."""
    return apps.get_model(APP, name)


def items_of(section: str, limit: int) -> Any:
    """The query of a list."""
    return model("Item").objects.filter(section=section, price__lt=limit)


def save_fact(name: str) -> None:
    """Save a fact, made or there, in a transaction of its own, as a view of a project with ATOMIC_REQUESTS does."""
    fact = model("Fact")
    with transaction.atomic():
        found = fact.objects.filter(name=name).first() or fact(name=name)
        found.n_saves += 1
        found.save()


class DjangoAdapter(Adapter):
    """What both libraries share: rows are saved, and signals or patched queries tell the library."""

    def item_changed(self, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        """Make the row, or get, change and save it, or get and delete it."""
        items = model("Item").objects
        with transaction.atomic():
            if before is None:
                items.create(**(after or {}))
                return
            item = items.get(pk=before["id"])
            if after is None:
                item.delete()
                return
            for name, value in after.items():
                setattr(item, name, value)
            item.save()

    def close(self) -> None:
        """Close the connections of this thread; those of others end with their threads."""
        connections.close_all()


def name_of(function: Any, args: tuple[Any, ...]) -> str:
    """The fact that stands for one call of a function."""
    return f"{function.__qualname__}{args!r}"


def check_once() -> None:
    """See that nobody did it before: Django is set up once in a process.

    Raises:
        RuntimeError: it is set up already.
    """
    if settings.configured:
        raise RuntimeError("Django is set up already in this process")
