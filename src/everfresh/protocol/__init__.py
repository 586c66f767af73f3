"""The rules, written once: generators of requests, the state table, and the deciders that stores and drivers share."""
