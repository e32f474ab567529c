"""Tables that fit the width of the terminal, with one line for each row."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from rl_lab.system.printable import plain_text, printable, wrapped

FILE_WIDTH = 200  # least width of a table where the output is no terminal
COLUMN_GAP = 2  # spaces between two columns

Columns = dict[str, list[str]]
"""Heading -> one cell for each row."""


def print_fitted(
    columns: Columns, *, text_columns: Collection[str], drop_order: Sequence[str], wide: bool = False
) -> None:
    """Print a table. A terminal shows the columns that fit; a file receives all of them.

    Args:
        columns: The columns, from left to right.
        text_columns: Headings of the columns that are aligned at the left. All others are aligned at the right.
        drop_order: Headings of the columns that may be left out, the least important one first.
        wide: Print all columns on a terminal too. Without it, a line below the table names those that are left out.
    """
    console = Console(highlight=False)
    if wide or not console.is_terminal:
        console = Console(highlight=False, width=max(FILE_WIDTH, smallest_width(columns)))
    table = fitted_table(columns, console.width, text_columns=text_columns, drop_order=drop_order)
    console.print(table, crop=False)
    shown = {str(column.header) for column in table.columns}
    left_out = [heading for heading in columns if heading not in shown]
    if left_out:
        for line in wrapped(f"--wide shows more columns: {', '.join(left_out)}", console.width):
            console.print(plain_text(line))


def fitted_table(
    columns: Columns, width: int, *, text_columns: Collection[str], drop_order: Sequence[str], title: str = ""
) -> Table:
    """Return a table without the least important columns, as far as it would be wider than `width` with them.

    The arguments are those of `print_fitted`.
    """
    shown = dict(columns)
    for heading in drop_order:
        if smallest_width(shown) <= width:
            break
        shown.pop(heading, None)
    table = Table(
        title=plain_text(title) if title else None,
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, COLUMN_GAP, 0, 0),
    )
    for heading, column_width in _widths(shown, width).items():
        table.add_column(heading, justify="left" if heading in text_columns else "right", width=column_width)
    for cells in zip(*shown.values(), strict=True):
        table.add_row(*map(plain_text, cells))
    return table


def smallest_width(columns: Columns) -> int:
    """Return the smallest width of a table whose cells are not broken."""
    return _total(_widths(columns, 0))


def _widths(columns: Columns, width: int) -> dict[str, int]:
    """Return the widths of columns whose cells are not broken: heading -> characters.

    Headings are broken between words if the table would be wider than `width` otherwise.
    """
    of_cells = {
        heading: max((cell_len(printable(cell)) for cell in cells), default=0) for heading, cells in columns.items()
    }
    unbroken = {heading: max(len(heading), widest) for heading, widest in of_cells.items()}
    if _total(unbroken) <= width:
        return unbroken
    return {heading: max(widest, *map(len, heading.split())) for heading, widest in of_cells.items()}


def _total(widths: dict[str, int]) -> int:
    """Return the width of a table with columns of these widths."""
    return sum(widths.values()) + COLUMN_GAP * (len(widths) - 1)
