"""An evenly spaced sample of a sequence of unknown length."""

from __future__ import annotations

from typing import Generic, TypeVar

Item = TypeVar("Item")


class EvenSample(Generic[Item]):
    """Keep every k-th item of a sequence, where k doubles whenever the sample is full.

    Attributes:
        items: The sample. It holds the whole sequence while that is shorter than `min_size`, and later at least
            `min_size` and fewer than 2 * `min_size` items.
    """

    def __init__(self, min_size: int) -> None:
        self.items: list[Item] = []
        self.min_size = min_size
        self.spacing = 1  # distance in the sequence between two items of the sample
        self.num_added = 0

    def add(self, item: Item) -> None:
        """Add the next item of the sequence. It may be dropped, now or later."""
        if self.num_added % self.spacing == 0:
            self.items.append(item)
            if len(self.items) == 2 * self.min_size:
                self.items = self.items[::2]
                self.spacing *= 2
        self.num_added += 1
