"""rl_lab: train, watch and compare deep reinforcement learning agents.

run = rl_lab.train("dqn", env="Pong", seed=1, lr=1e-4)      a Run: its folder, configuration, environment and metrics
agent = rl_lab.load(run)                                    the trained agent
run = rl_lab.resume(run, steps=2_000_000)                   the same run, extended
action, state = agent.predict(obs, state)                   NumPy in and out, one observation or many
score = rl_lab.evaluate(run, episodes=30)                   an Evaluation: mean, std, returns, lengths
rl_lab.show(run, video="pong.mp4")                          episodes on the screen, or in a file
rl_lab.watch(run)                                           a video that a notebook shows
rl_lab.compare(["dqn", "ppo"])                              a table and a figure of learning curves
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl_lab.version import __version__ as __version__

if TYPE_CHECKING:
    from agents.dqn import DQN as DQN
    from rl_lab.api import compare as compare
    from rl_lab.api import evaluate as evaluate
    from rl_lab.api import load as load
    from rl_lab.api import resume as resume
    from rl_lab.api import show as show
    from rl_lab.api import train as train
    from rl_lab.api import watch as watch
    from rl_lab.experiment.run import Run as Run

_HOME = Path(__file__).resolve().parent.parent
_MODULES_OF_NAMES = {  # imported on first use, because `--help` must not wait for torch
    "train": "rl_lab.api",
    "resume": "rl_lab.api",
    "load": "rl_lab.api",
    "evaluate": "rl_lab.api",
    "show": "rl_lab.api",
    "watch": "rl_lab.api",
    "compare": "rl_lab.api",
    "Run": "rl_lab.experiment.run",
    "DQN": "agents.dqn",
}
__all__ = ["DQN", "Run", "compare", "evaluate", "load", "resume", "show", "train", "watch"]


def _check_sibling_packages() -> None:
    """Raise ImportError if `agents` or `envs` is a package of another project (openai-agents installs `agents`)."""
    for name in ("agents", "envs"):
        spec = find_spec(name)
        folder = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if folder != _HOME / name:
            raise ImportError(
                f"rl_lab needs its own package {name!r} at {_HOME / name}, but Python imports {folder};"
                " uninstall the package that installed it (openai-agents?), or use a separate virtual environment"
            )


_check_sibling_packages()


def __dir__() -> list[str]:
    """Return the public names. Names that are imported at their first use are included."""
    return [*__all__, "__version__", "__doc__"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _MODULES_OF_NAMES:
        raise AttributeError(f"module 'rl_lab' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES_OF_NAMES[name]), name)
