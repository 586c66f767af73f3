"""Several processes of a scenario at once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import ModuleType

from benchmarks.races.scenario import Beside


def all_beside(stack: ExitStack, n: int, peer: ModuleType, scenario: str, place: dict[str, str]) -> list[Beside]:
    """So many processes, which start at the same time and end with the stack."""
    with ThreadPoolExecutor(n) as pool:
        starting = [pool.submit(Beside, peer, scenario, place) for _ in range(n)]
    return [stack.enter_context(one.result()) for one in starting]
