"""From an event to the buckets that it touches, by index: shapes, values, topics, triage."""
