"""From a raw recording to a reduction, without ever holding the data.

An instrument has left a file: 256 bytes of header, then frames of 16-bit counts, one for each
channel. The frames are scaled to volts and appended to a .npy file, block by block. A reader
follows it meanwhile, as another process would. In the end Dask reduces the file, with chunks that
lie in it one behind the other.

Needs Dask: pip install 'mmapkit[dask]'.
"""

import tempfile
from pathlib import Path

import dask
import numpy as np

import mmapkit as mk

HEADER_BYTES = 256
CHANNELS = 32
FRAMES = 200_000
BLOCK_FRAMES = 30_000
VOLTS_PER_COUNT = np.float32(10 / 32768)


def record(path: Path) -> None:
    """Stand in for the instrument: noise on a slow drift, big-endian."""
    random = np.random.default_rng(1)
    drift = np.linspace(-2000, 2000, FRAMES)[:, None]
    counts = drift + random.integers(-500, 500, (FRAMES, CHANNELS))
    with path.open("wb") as file:
        file.write(b"RECORDER 7".ljust(HEADER_BYTES, b"\0"))
        file.write(counts.astype(">i2").tobytes())


def convert(source: Path, target: Path) -> int:
    """Append the recording to a new .npy file in volts; return how often a reader saw it grow."""
    seen = 0
    with (
        mk.open_array(source, dtype=">i2", shape=(FRAMES, CHANNELS), offset=HEADER_BYTES) as counts,
        mk.create_array(target, (0, CHANNELS), "f4") as volts,
        mk.open_array(target) as reader,
    ):
        for start in range(0, FRAMES, BLOCK_FRAMES):
            volts.append(counts[start : start + BLOCK_FRAMES] * VOLTS_PER_COUNT)
            before = len(reader)
            reader.refresh()
            seen += len(reader) > before
        volts.flush()
    return seen


def reduce(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean and largest magnitude of each channel."""
    with mk.open_array(path) as volts:
        chunks = volts.to_dask("4 MiB")
        print(f"dask: {chunks.npartitions} chunks of {chunks.chunksize} {chunks.dtype}")
        mean, peak = dask.compute(chunks.mean(axis=0, dtype="f8"), abs(chunks).max(axis=0))
    return mean, peak


def main() -> None:
    """Run the pipeline and check what comes out."""
    with tempfile.TemporaryDirectory() as name:
        raw, npy = Path(name) / "recording.raw", Path(name) / "volts.npy"
        record(raw)
        print(f"recorded {raw.stat().st_size / 1e6:.1f} MB of counts")
        seen = convert(raw, npy)
        print(
            f"converted to {npy.stat().st_size / 1e6:.1f} MB of volts; the reader saw {seen} blocks"
        )
        mean, peak = reduce(npy)
        print(f"channel 0: mean {mean[0]:.4f} V, peak {peak[0]:.4f} V")

        # The same the ordinary way, all in memory.
        counts = np.frombuffer(raw.read_bytes(), ">i2", offset=HEADER_BYTES)
        expected = counts.reshape(FRAMES, CHANNELS) * VOLTS_PER_COUNT
        assert seen == -(-FRAMES // BLOCK_FRAMES)
        assert np.array_equal(np.load(npy), expected)
        assert np.allclose(mean, expected.mean(axis=0, dtype="f8"))
        assert np.array_equal(peak, np.abs(expected).max(axis=0))
    print("correct: numpy finds the same")


if __name__ == "__main__":
    main()
