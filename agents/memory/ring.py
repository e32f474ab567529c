"""A ring buffer inside a state dict. A checkpoint writes only the rows that are not on disk yet."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Ring:
    """Rows of a ring buffer, by field. Row r, counted from the first one ever written, lies at r % capacity."""

    fields: dict[str, Tensor]  # each [capacity, ...]
    total: int  # rows ever written

    @property
    def capacity(self) -> int:
        """Return the number of rows that the ring holds when it is full."""
        first_field = next(iter(self.fields.values()))
        return len(first_field)

    def copy_into(self, fields: dict[str, Tensor]) -> None:
        """Copy all rows into the fields of another ring. Raises ValueError if the fields or shapes differ."""
        check_same_rows(self.fields, fields)
        if self.fields and self.capacity != len(next(iter(fields.values()))):
            raise ValueError(f"the rows come from a memory with a capacity of {self.capacity} rows")
        for name, field in fields.items():
            field.copy_(self.fields[name])


def check_same_rows(rows: dict[str, Tensor], fields: dict[str, Tensor]) -> None:
    """Raise ValueError unless `rows` and `fields` have the same names, row shapes and dtypes."""
    for name in sorted(rows.keys() | fields.keys()):
        given = _row_type(rows.get(name))
        expected = _row_type(fields.get(name))
        if given != expected:
            raise ValueError(f"the rows hold {name} as {given}, expected {expected}")


def _row_type(field: Tensor | None) -> str:
    """Return the dtype and shape of one row of a field as text."""
    if field is None:
        return "none"
    return f"{field.dtype}{list(field.shape[1:])}"
