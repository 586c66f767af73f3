"""The demo: a slow issue tracker, a page of widgets over it, and one command that starts both.

Read `everfresh.demo.app` first: it is the whole idea in one file. The other modules start it and watch it.
Importing this package costs little; the web libraries are imported when a demo is run.
"""

from everfresh.demo.settings import DemoSettings

__all__ = ["DemoSettings", "run", "run_once"]


def run(settings: DemoSettings) -> int:
    """Serve the demo until Ctrl-C or SIGTERM, and return the exit code: 0, or 1 if it could not start."""
    from everfresh.demo import runner  # noqa: PLC0415  (web libraries only when they are needed)

    return runner.run(settings)


def run_once(settings: DemoSettings) -> int:
    """Make one round trip without a browser, print its times, and return the exit code: 0 if all held, else 1."""
    from everfresh.demo import once  # noqa: PLC0415  (web libraries only when they are needed)

    return once.run_once(settings)
