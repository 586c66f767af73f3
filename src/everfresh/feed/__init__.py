"""Following the store's log: what changed since a position, in order, in this process and from others."""
