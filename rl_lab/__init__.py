"""rl_lab: train, watch and compare deep reinforcement learning agents.

run = rl_lab.train("dqn", env="Pong", seed=1, lr=1e-4)      a Run: its folder, config, card and metrics
agent = rl_lab.load(run)                                    the trained agent, to act with
run = rl_lab.resume(run, steps=2_000_000)                   the same run, longer
score = rl_lab.evaluate(run, episodes=30)                   an Evaluation: mean, std, returns, lengths
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.dqn import DQN as DQN
    from rl_lab.api import evaluate as evaluate
    from rl_lab.api import load as load
    from rl_lab.api import resume as resume
    from rl_lab.api import train as train
    from rl_lab.experiment.run import Run as Run

__version__ = "0.1.0"

_HOME = Path(__file__).resolve().parent.parent
_PUBLIC = {  # imported when first asked for, so that `--help` need not wait for torch
    "train": "rl_lab.api",
    "resume": "rl_lab.api",
    "load": "rl_lab.api",
    "evaluate": "rl_lab.api",
    "Run": "rl_lab.experiment.run",
    "DQN": "agents.dqn",
}
__all__ = ["DQN", "Run", "evaluate", "load", "resume", "train"]


def _check_siblings() -> None:
    """Raise ImportError where another package's `agents` or `envs` (openai-agents has one) hides ours."""
    for name in ("agents", "envs"):
        spec = find_spec(name)
        where = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if where != _HOME / name:
            raise ImportError(
                f"rl_lab needs its own package {name!r} at {_HOME / name}, but Python finds {where};"
                " uninstall what brought that one (openai-agents?) or use a virtual environment of rl_lab's own"
            )


_check_siblings()


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'rl_lab' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
