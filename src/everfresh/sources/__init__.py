"""Sources: whatever brings events in.

`http` takes them by POST; which they are say `webhooks` (CloudEvents, messages, Debezium) and `rules` (anybody's
webhooks), and from whom `signatures`. `files` reads recorded messages.
"""
