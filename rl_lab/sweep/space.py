"""What a search varies: a space of settings, from configs/search.yaml or a file of the same form.

lr: {low: 1e-4, high: 3e-3, log: true}     a number between two, on a logarithmic scale
hidden: {low: 64, high: 256}               a whole number, where both ends are
n_step: [1, 3, 5, 10]                      one of these
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import tune

from agents.core.settings import ConfigError
from rl_lab.errors import LabError
from rl_lab.experiment.config import Config, read_yaml, replaced
from rl_lab.experiment.registry import CONFIGS

DEFAULT = CONFIGS / "search.yaml"
# What may change in the middle of a run: anything else is built into the network or the memory, or counted from the beginning.
ON_THE_WAY = {
    "lr", "lr_end", "gamma", "epsilon_end", "grad_clip", "target_every", "trace_decay", "ratio_clip", "value_weight",
    "entropy_weight", "epochs",
}  # fmt: skip


def read_space(config: Config, file: str, *, on_the_way: bool) -> dict[str, Any]:
    """The domain of each setting, as Tune takes it. Raises LabError or ConfigError for what cannot be searched."""
    path = Path(file) if file else DEFAULT
    sections = read_yaml(path)
    described = sections if file else sections.get(config.agent)
    if not described:
        raise LabError(f"{path} has no space for {config.agent}; name a file of one by --space")
    if not isinstance(described, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, not {type(described).__name__}")
    if on_the_way and not file:
        described = {key: value for key, value in described.items() if key in ON_THE_WAY}
    fixed = sorted(described.keys() - ON_THE_WAY) if on_the_way else []
    if fixed or not described:
        what = ", ".join(fixed) or "no setting"
        raise LabError(
            f"{path} varies {what}; pbt changes runs on their way, and then only: {', '.join(sorted(ON_THE_WAY))}"
        )
    space = {}
    for key, value in described.items():
        # the setting itself refuses what cannot be, and knows what YAML reads as a text
        ends = [replaced(config, {key: end}, str(path)).to_dict()[key] for end in _ends(key, value, path)]
        space[key] = _domain(value, ends)
    return space


def _ends(key: str, value: Any, path: Path) -> list[Any]:
    """The values that must be allowed for all between them to be."""
    if isinstance(value, list) and value:
        return value
    if isinstance(value, dict) and {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
        low, high = (_number(value[end]) for end in ("low", "high"))
        if low is not None and high is not None and low < high and (low > 0 or not value.get("log")):
            return [low, high]
    raise ConfigError(f"{key} is {value!r} in {path}; it must be a list of values, or {{low: .., high: .., log: true}}")


def _number(value: Any) -> int | float | None:
    """A number as YAML may write it: it reads 1e-4 as a text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _domain(value: Any, ends: list[Any]) -> Any:
    """Tune's domain of a description whose ends are these."""
    if isinstance(value, list):
        return tune.choice(ends)
    low, high = ends
    log = bool(value.get("log"))
    if isinstance(low, int) and isinstance(high, int):
        return tune.lograndint(low, high + 1) if log else tune.randint(low, high + 1)
    return tune.loguniform(low, high) if log else tune.uniform(low, high)
