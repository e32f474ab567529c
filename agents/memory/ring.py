"""A ring buffer inside a state dict, which checkpoints may write in parts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Ring:
    """Rows in a state dict that are written once, in order, over the oldest: row r lies at position r % capacity.

    Whoever saves the state may keep the rows it has already saved.
    """

    fields: dict[str, Tensor]  # each [capacity, ...]
    total: int  # rows ever written

    @property
    def capacity(self) -> int:
        return len(next(iter(self.fields.values())))

    def copy_into(self, fields: dict[str, Tensor]) -> None:
        """Put the rows where they belong in a memory of the same shape. Raises ValueError where the shapes differ."""
        check_same_rows(self.fields, fields)
        if self.fields and self.capacity != len(next(iter(fields.values()))):
            raise ValueError(f"the rows are those of a memory of {self.capacity}")
        for name, field in fields.items():
            field.copy_(self.fields[name])


def check_same_rows(rows: dict[str, Tensor], fields: dict[str, Tensor]) -> None:
    """Raise ValueError unless both hold the same fields, whose rows have the same shapes and types."""
    for name in sorted(rows.keys() | fields.keys()):
        there, here = (f"{x[name].dtype}{list(x[name].shape[1:])}" if name in x else "none" for x in (rows, fields))
        if there != here:
            raise ValueError(f"rows hold {name} as {there}, not {here}")
