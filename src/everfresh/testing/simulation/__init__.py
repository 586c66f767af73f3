"""Simulation: a world of facts and cached functions, played on a real store in any order that can go wrong."""

from everfresh.testing.simulation.moves import Move, moves_of
from everfresh.testing.simulation.promise import Promise
from everfresh.testing.simulation.simulator import PromiseBroken, Report, Simulator
from everfresh.testing.simulation.standard import random_world, standard_world
from everfresh.testing.simulation.world import Build, SourceBroken, World

__all__ = [
    "Build",
    "Move",
    "Promise",
    "PromiseBroken",
    "Report",
    "Simulator",
    "SourceBroken",
    "World",
    "moves_of",
    "random_world",
    "standard_world",
]
