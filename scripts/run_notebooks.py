"""Run the notebooks in examples/ and write their outputs into them.

    python scripts/run_notebooks.py [examples/1_first_agent.ipynb ...]

The kernel runs on one core, in an empty folder, without W&B. The outputs hold no times of execution, so that only what
a reader sees changes in a commit. Needs `pip install "rl-lab[notebook]"`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from rl_lab.errors import LabError
from rl_lab.system.exit_codes import run_command
from rl_lab.system.optional_packages import import_optional

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
CELL_SECONDS = 600  # time limit of a cell


def main() -> None:
    """Run notebooks and write them back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", type=Path, nargs="*", default=NOTEBOOKS, help="default: all in examples/")
    options = parser.parse_args()
    nbformat = import_optional("nbformat", "scripts/run_notebooks.py")
    for path in options.notebooks:
        started = time.monotonic()
        nbformat.write(run_notebook(path), path)
        print(f"{path}: {time.monotonic() - started:.0f} s, {path.stat().st_size / 1e3:.0f} kB")


def run_notebook(path: Path) -> Any:
    """Return the notebook (nbformat.NotebookNode) with its outputs. Its file is not changed.

    Raises:
        LabError: The file is no notebook, or a package is missing.
        nbclient.exceptions.CellExecutionError: A cell raised an exception, which the message shows.
    """
    nbclient = import_optional("nbclient", "running a notebook")
    nbformat = import_optional("nbformat", "running a notebook")
    import_optional("ipykernel", "running a notebook")
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        raise LabError(f"{path} cannot be read as a notebook: {error}") from error
    client = nbclient.NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", record_timing=False, coalesce_streams=True
    )
    search_path = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).rstrip(os.pathsep)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled", "PYTHONPATH": search_path}
    with tempfile.TemporaryDirectory() as folder:
        client.execute(cwd=folder, env=env)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


if __name__ == "__main__":
    run_command(main)
