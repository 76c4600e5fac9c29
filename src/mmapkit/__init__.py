"""mmapkit: memory mapping for Python and numpy that survives what happens to the file."""

from mmapkit.errors import FormatError, MappingFault, UnraisedFaultWarning, UnsupportedError
from mmapkit.faults import disable_guard, enable_guard, guard_enabled
from mmapkit.mapping import (
    Mapping,
    allocation_granularity,
    anonymous,
    open,
    page_size,
    supported_advice,
    temporary,
)
from mmapkit.residency import Residency, residency

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    from mmapkit.array import MappedArray, create_array, open_array
    from mmapkit.passes.parallel import map_blocks
    from mmapkit.passes.running import Blocks
    from mmapkit.passes.sources import blocks

__version__ = "0.1.0"

__all__ = [
    # bytes
    "Mapping",
    "open",
    "anonymous",
    "temporary",
    # numbers
    "MappedArray",
    "open_array",
    "create_array",
    # passes
    "blocks",
    "map_blocks",
    "Blocks",
    # memory
    "Residency",
    "residency",
    "supported_advice",
    "page_size",
    "allocation_granularity",
    # faults and errors
    "MappingFault",
    "UnraisedFaultWarning",
    "UnsupportedError",
    "FormatError",
    "enable_guard",
    "disable_guard",
    "guard_enabled",
]

_NUMBERS = {"MappedArray", "open_array", "create_array"}
_PASSES = {"blocks": "sources", "map_blocks": "parallel", "Blocks": "running"}


def __getattr__(name: str) -> object:
    """Import what costs time, such as numpy, when it is first used."""
    if name in _NUMBERS:
        from mmapkit import array

        globals().update({number: getattr(array, number) for number in _NUMBERS})
        return globals()[name]
    if name in _PASSES:
        from importlib import import_module

        found = getattr(import_module(f"mmapkit.passes.{_PASSES[name]}"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the lazy names, too."""
    return sorted({*globals(), *__all__})
