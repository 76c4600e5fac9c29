"""Features of windows, by processes that map one file.

joblib pickles what it hands to its processes. A MappedArray goes as a reference of a few hundred
bytes, whatever its size, and the results are stored where everybody sees them: into another file.

Needs joblib: pip install joblib.
"""

import pickle
import tempfile
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

import mmapkit as mk

WINDOW = 1000
WINDOWS = 2000


def features(signal: mk.MappedArray, found: mk.MappedArray, first: int, last: int) -> None:
    """Store mean, deviation and the strongest frequency of some windows."""
    for window in range(first, last):
        piece = signal[window * WINDOW : (window + 1) * WINDOW]
        spectrum = np.abs(np.fft.rfft(piece - piece.mean()))
        found[window] = piece.mean(), piece.std(), spectrum.argmax()


def main() -> None:
    """Compute with four tasks and check some windows."""
    with tempfile.TemporaryDirectory() as name:
        random = np.random.default_rng(1)
        with (
            mk.create_array(Path(name) / "signal.npy", WINDOW * WINDOWS) as signal,
            mk.create_array(Path(name) / "features.npy", (WINDOWS, 3)) as found,
        ):
            time = np.arange(WINDOW) / WINDOW
            frequencies = random.integers(5, 400, WINDOWS)
            for window, frequency in enumerate(frequencies):
                noise = random.normal(scale=0.1, size=WINDOW)
                start = window * WINDOW
                signal[start : start + WINDOW] = np.sin(2 * np.pi * frequency * time) + noise
            sent = len(pickle.dumps(signal)) + len(pickle.dumps(found))
            print(f"a task gets {sent} bytes for {signal.nbytes / 1e6:.0f} MB")
            step = WINDOWS // 4
            Parallel(n_jobs=2)(
                delayed(features)(signal, found, first, first + step)
                for first in range(0, WINDOWS, step)
            )
            print(f"window 0: mean {found[0, 0]:.3f}, deviation {found[0, 1]:.3f}")
            assert np.array_equal(found[:, 2], frequencies)
            assert np.allclose(found[:, 1], np.asarray(signal).reshape(WINDOWS, WINDOW).std(axis=1))
    print("correct: every frequency was found")


if __name__ == "__main__":
    main()
