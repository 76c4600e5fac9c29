"""Libraries that arrays are handed to: the extra `interop`. Most machines have only some."""

import importlib
import os

import pytest


def need(name):
    """Import a library, or skip; with MMAPKIT_TEST_ALL set, as in .ci/run, a missing one fails."""
    if os.environ.get("MMAPKIT_TEST_ALL"):
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"needs {name}: pip install 'mmapkit[interop]'")
