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
    from mmapkit.ragged import RaggedArray, create_ragged, open_ragged

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
    "RaggedArray",
    "open_ragged",
    "create_ragged",
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

# What needs numpy, and where it is.
_NUMBERS = {
    "MappedArray": "array",
    "open_array": "array",
    "create_array": "array",
    "RaggedArray": "ragged",
    "open_ragged": "ragged",
    "create_ragged": "ragged",
}


def __getattr__(name: str) -> object:
    """Import what needs numpy when it is first used."""
    if name in _NUMBERS:
        from importlib import import_module

        globals()[name] = getattr(import_module(f"mmapkit.{_NUMBERS[name]}"), name)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the lazy names, too."""
    return sorted({*globals(), *__all__})
