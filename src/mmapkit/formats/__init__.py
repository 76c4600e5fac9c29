"""Where in a file arrays lie: one module for each format, and what a format is made of."""

from mmapkit.formats.format import Contents, Format, Source, Unmapped
from mmapkit.formats.layout import Layout

__all__ = ["Contents", "Format", "Layout", "Source", "Unmapped"]
