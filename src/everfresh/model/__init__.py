"""The words of Everfresh: events, dependencies, entries, leases, positions, errors and time."""
