"""A PyTorch Dataset over a file: each batch is gathered at once, by index.

DataLoader asks a Dataset that has __getitems__ for a whole batch of indices. gather() then reads
all rows that are not in memory at the same time, instead of one page fault after the other.
Workers are forked, or get the dataset pickled: either way they map the same file, and no sample
travels to them.

Needs PyTorch: pip install torch.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import mmapkit as mk

SAMPLES = 20_000
FEATURES = 64
BATCH = 512


class FileDataset(Dataset):
    """Rows of a file; the last column is the label."""

    def __init__(self, array: mk.MappedArray) -> None:
        """Keep the array: it pickles as a reference to its file."""
        self.array = array

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.array)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one sample."""
        features, labels = self.__getitems__([index])
        return features[0], labels[0]

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a batch: the rows are in memory of their own, so torch may write to them."""
        rows = torch.from_numpy(self.array.gather(np.asarray(indices)))
        return rows[:, :-1], rows[:, -1]


def as_it_is(batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stand in for DataLoader's collate function: __getitems__ has made tensors already."""
    return batch


def make(path: Path) -> np.ndarray:
    """Write samples whose label is a linear function of their features; return its weights."""
    random = np.random.default_rng(1)
    weights = random.normal(size=FEATURES).astype("f4")
    with mk.create_array(path, (SAMPLES, FEATURES + 1), "f4") as a:
        a[:, :-1] = random.normal(size=(SAMPLES, FEATURES))
        a[:, -1] = a[:, :-1] @ weights
        a.flush()
    return weights


def main() -> None:
    """Fit the weights from shuffled batches and compare them."""
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "samples.npy"
        weights = make(path)
        print(f"wrote {path.stat().st_size / 1e6:.1f} MB of samples")
        with mk.open_array(path) as a:
            loader = DataLoader(
                FileDataset(a), BATCH, shuffle=True, num_workers=2, collate_fn=as_it_is
            )
            model = torch.nn.Linear(FEATURES, 1, bias=False)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
            for epoch in range(2):
                count, loss = 0, torch.tensor(0.0)
                for features, labels in loader:
                    loss = torch.nn.functional.mse_loss(model(features)[:, 0], labels)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    count += len(labels)
                print(f"epoch {epoch}: {count} samples, loss {loss.item():.2g}")
                assert count == SAMPLES
        found = model.weight.detach().numpy()[0]
        assert np.allclose(found, weights, atol=1e-2)
    print("correct: these are the weights that made the labels")


if __name__ == "__main__":
    main()
