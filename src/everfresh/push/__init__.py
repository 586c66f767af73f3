"""Push: what happens to entries, as server-sent events for browsers.

The way of a change: `following` keeps one `fanout` reading the feed while streams are open; a batch becomes `changes`;
each changed entry is shown once as a frame (`showing`, `frames`) and offered to every `stream` that asked for it
(`topics`); a `connection` keeps the newest per topic until the client reads. `resume` decides what a client that
was away is owed. `updates` is the application itself.
"""

from everfresh.push.topics import Topic
from everfresh.push.updates import Updates

__all__ = ["Topic", "Updates"]
