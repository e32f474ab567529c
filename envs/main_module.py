"""Worker processes that do not run the user's script again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

ATTRIBUTES = ("__spec__", "__file__")


@contextmanager
def main_module_hidden() -> Iterator[None]:
    """Hide the file of the main module from `multiprocessing` inside the `with` block.

    A new process imports the main module of its parent. If a script trains without the guard
    `if __name__ == "__main__":`, each worker would train too. Workers of this project do not need the main module:
    what they run is pickled by value with cloudpickle.
    """
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ATTRIBUTES if hasattr(main, name)}
    for name in hidden:
        delattr(main, name)
    main.__spec__ = None  # `multiprocessing` reads the attribute without a default
    try:
        yield
    finally:
        del main.__spec__
        for name, value in hidden.items():
            setattr(main, name, value)
