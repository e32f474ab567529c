"""The trained agents that are part of the package: run folders in rl_lab/demo, called demo:NAME.

rl_lab/demo/NAME/
    config.yaml, env.json, checkpoints/best/    as in every run folder
    demo.json                                   how the agent was trained, and its score (`DemoRecord`)

A demo holds only the best network, so it cannot be resumed. `scripts/make_demo.py` writes the folder.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from rl_lab.errors import LabError
from rl_lab.system.data_files import read_json

DEMOS = Path(__file__).parents[1] / "demo"
"""The folder of the demos."""

DEFAULT_DEMO = "pong"
"""The demo that is meant by "demo" alone."""

RECORD_FILE = "demo.json"


@dataclass(frozen=True)
class DemoRecord:
    """How a demo was trained, and how well it plays: the content of demo.json."""

    agent: str
    env: str
    """Name of the environment."""
    command: str
    """The command that trained the agent."""
    seed: int
    commit: str
    """Commit of the code that trained the agent."""
    step: int
    """Agent steps before the network was saved: the best evaluation of the run."""
    weights: str
    """Number format of the stored weights."""
    score: float
    """Mean score of `episodes` whole episodes: undiscounted sums of raw rewards."""
    score_std: float
    score_min: float
    score_max: float
    episodes: int
    epsilon: float
    """Probability of a random action in these episodes."""
    note: str = ""
    """What a reader must know besides."""

    @classmethod
    def read(cls, name: str) -> DemoRecord:
        """Return the record of the demo `name`. Raise LabError if there is no such demo."""
        return cls(**read_json(demo_folder(name) / RECORD_FILE))

    def write(self, folder: Path) -> None:
        """Write demo.json into a run folder."""
        (folder / RECORD_FILE).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def demo_names() -> list[str]:
    """Return the names of the demos, the one that "demo" means first."""
    names = sorted(path.parent.name for path in DEMOS.glob(f"*/{RECORD_FILE}"))
    return sorted(names, key=lambda name: name != DEFAULT_DEMO)


def demo_folder(name: str) -> Path:
    """Return the run folder of a demo. Raise LabError if there is no demo of this name."""
    if name not in demo_names():
        raise LabError(f"there is no demo {name!r}; the demos are {', '.join(demo_names())}")
    return DEMOS / name


def named_demo(run: str) -> Path | None:
    """Return the run folder of the demo that the name of a run means, or None if it means no demo.

    Args:
        run: "demo" for the default demo, "demo:NAME" for another one, or any other name.

    Raises:
        LabError: The name has the form demo:NAME, and there is no such demo.
    """
    if run == "demo":
        return demo_folder(DEFAULT_DEMO)
    if run.startswith("demo:"):
        return demo_folder(run.removeprefix("demo:"))
    return None
