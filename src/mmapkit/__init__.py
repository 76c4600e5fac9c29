"""mmapkit: memory mapping for Python and numpy that survives what happens to the file."""

from mmapkit.errors import (
    FormatError,
    JournalError,
    LateStoreWarning,
    MappingFault,
    RecoveryNeeded,
    UnraisedFaultWarning,
    UnsupportedError,
)
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
    from mmapkit.collection import MappedArrays, open_arrays
    from mmapkit.durable.recovery import recover
    from mmapkit.formats.registry import register_format
    from mmapkit.passes.parallel import map_blocks
    from mmapkit.passes.running import Blocks
    from mmapkit.passes.sources import blocks
    from mmapkit.ragged import RaggedArray, create_ragged, open_ragged
    from mmapkit.saving import save_npz
    from mmapkit.sharded import ShardedArray, open_sharded
    from mmapkit.text.find import count, find, find_all, rfind, split
    from mmapkit.text.lines import Lines, lines
    from mmapkit.text.search import Hit, search
    from mmapkit.text.several import find_any

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
    "MappedArrays",
    "open_arrays",
    "save_npz",
    "register_format",
    "ShardedArray",
    "open_sharded",
    "RaggedArray",
    "open_ragged",
    "create_ragged",
    # durability
    "recover",
    # text
    "find",
    "rfind",
    "count",
    "find_all",
    "find_any",
    "split",
    "lines",
    "Lines",
    "search",
    "Hit",
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
    "LateStoreWarning",
    "UnsupportedError",
    "FormatError",
    "JournalError",
    "RecoveryNeeded",
    "enable_guard",
    "disable_guard",
    "guard_enabled",
]

# What takes time to import, mostly for numpy -> where it is.
_LAZY = {
    "MappedArray": "array",
    "open_array": "array",
    "create_array": "array",
    "MappedArrays": "collection",
    "open_arrays": "collection",
    "save_npz": "saving",
    "register_format": "formats.registry",
    "ShardedArray": "sharded",
    "open_sharded": "sharded",
    "find": "text.find",
    "rfind": "text.find",
    "count": "text.find",
    "find_all": "text.find",
    "find_any": "text.several",
    "split": "text.find",
    "lines": "text.lines",
    "Lines": "text.lines",
    "search": "text.search",
    "Hit": "text.search",
    "blocks": "passes.sources",
    "map_blocks": "passes.parallel",
    "Blocks": "passes.running",
    "RaggedArray": "ragged",
    "open_ragged": "ragged",
    "create_ragged": "ragged",
    "recover": "durable.recovery",
}


def __getattr__(name: str) -> object:
    """Import what costs time, such as numpy, when it is first used."""
    if name in _LAZY:
        from importlib import import_module

        found: object = getattr(import_module(f"mmapkit.{_LAZY[name]}"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the lazy names, too."""
    return sorted({*globals(), *__all__})
