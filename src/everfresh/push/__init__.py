"""Push: what happens to entries, as server-sent events for browsers.

The way of a change: `following` keeps one `fanout` reading the feed while streams are open; a batch becomes `changes`;
each changed entry is shown once as a frame (`showing`, `frames`) and offered to every `stream` that asked for it
(`topics`); a `connection` keeps the newest per topic until the client reads. `resume` decides what a client that
was away is owed, `rechecks` ask again who may see what (`access`), and the `pulse` looks after all streams with one
timer. `updates` is the application itself.
"""

from everfresh.push.access import Access, Grant, access_changed, access_changed_blocking, subject_key
from everfresh.push.client import Client
from everfresh.push.ending import saying_goodbye
from everfresh.push.limits import Limits
from everfresh.push.topics import Topic
from everfresh.push.updates import Updates

__all__ = [
    "Access",
    "Client",
    "Grant",
    "Limits",
    "Topic",
    "Updates",
    "access_changed",
    "access_changed_blocking",
    "saying_goodbye",
    "subject_key",
]
