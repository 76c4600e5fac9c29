"""JSON output: one object a line, in ASCII."""

from __future__ import annotations

import json

from mmapkit.cli.output import Output

__all__ = ["write_object"]


def write_object(output: Output, **fields: bytes | int) -> None:
    """Write one object. Bytes become a string, or in base64 where they are not UTF-8."""
    plain = {
        name: _text(value) if isinstance(value, bytes) else value for name, value in fields.items()
    }
    output.write(json.dumps(plain).encode() + b"\n")


def _text(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        from base64 import b64encode

        return {"bytes": b64encode(data).decode()}
