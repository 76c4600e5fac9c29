"""Rivals that need not be installed: the extra `bench`."""

import importlib
from collections.abc import Sequence
from types import ModuleType


def installed(*names: str) -> tuple[dict[str, ModuleType], Sequence[str]]:
    """Import what there is of some libraries; the modules by name, and the names of the others."""
    found, missing = {}, []
    for name in names:
        try:
            found[name] = importlib.import_module(name)
        except ImportError:
            missing.append(name)
    return found, missing
