"""Sources: whatever brings events in. `http` is a webhook endpoint, `files` reads recorded messages."""
