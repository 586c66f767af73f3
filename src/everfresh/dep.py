"""Kinds of dependency: `dep.Topic`, `dep.Id`, `dep.Tag`, `dep.Call`; and `dep.arg` for the arguments of a call."""

from everfresh.model.dependency import Call, Dependency, Id, Tag, Topic, arg

__all__ = ["Call", "Dependency", "Id", "Tag", "Topic", "arg"]
