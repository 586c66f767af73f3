"""The demo's upstream: a small, slow issue tracker in a process of its own.

It knows nothing of caches. It answers questions over HTTP, slowly on purpose, takes changes, and announces each
change as a CloudEvents webhook, in order and until it is taken. Start it with `python -m everfresh.demo.tracker`.
"""
