"""Libraries that arrays are handed to: the extra `interop`. Most machines have only some."""

import gc
import importlib
import os

import pytest


def need(name):
    """Import a library, or skip; with MMAPKIT_TEST_ALL set, as in .ci/run, a missing one fails."""
    if os.environ.get("MMAPKIT_TEST_ALL"):
        found = importlib.import_module(name)
    else:
        found = pytest.importorskip(name, reason=f"needs {name}: pip install 'mmapkit[interop]'")
    # Some bring millions of objects, which every gc.collect() of later tests would go through.
    gc.freeze()
    return found
