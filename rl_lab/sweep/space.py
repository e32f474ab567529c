"""The search space: the settings that a search varies, from configs/search.yaml or another YAML file.

    lr: {low: 1e-4, high: 3e-3, log: true}     # a number between low and high, on a logarithmic scale
    hidden: {low: 64, high: 256}               # an integer, both ends included
    n_step: [1, 3, 5, 10]                      # one of these values

configs/search.yaml has one such section per agent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search.sample import Domain

from agents.core.settings import ConfigError
from rl_lab.errors import LabError
from rl_lab.experiment.config import Config, replace_settings
from rl_lab.experiment.config_layers import read_yaml
from rl_lab.experiment.env_settings import ENV_SETTINGS
from rl_lab.experiment.registry import CONFIGS

DEFAULT_SPACES = CONFIGS / "search.yaml"

# Settings that may change during a run, as population-based training requires. All others determine the network or the
# memory, or belong to schedules that count from the start of the run.
CHANGEABLE_SETTINGS = {
    "lr",
    "lr_end",
    "gamma",
    "epsilon_end",
    "grad_clip",
    "target_every",
    "trace_decay",
    "ratio_clip",
    "value_weight",
    "entropy_weight",
    "epochs",
}


def read_space(config: Config, file: str, *, only_changeable: bool) -> dict[str, Domain]:
    """Return the domain of each setting of a search space.

    Args:
        config: Configuration of the agent. It decides which values are valid.
        file: YAML file of the space. "" is the agent's section of configs/search.yaml.
        only_changeable: Allow only settings that may change during a run. The agent's default space is reduced to these
            settings; a file that holds others is an error.

    Raises:
        LabError: The space is missing, or holds no setting that may change during a run.
        ConfigError: A setting is unknown, or a value is invalid.
    """
    path = Path(file) if file else DEFAULT_SPACES
    content = read_yaml(path)
    entries = content if file else content.get(config.agent)
    if not entries:
        raise LabError(f"{path} has no search space for {config.agent}; name a file with --space")
    if not isinstance(entries, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, not {type(entries).__name__}")
    if only_changeable:
        if not file:
            entries = {name: entry for name, entry in entries.items() if name in CHANGEABLE_SETTINGS}
        _check_changeable(entries, path)
    fixed = sorted(entries.keys() & {"env", "protocol", *ENV_SETTINGS})
    if fixed:
        raise LabError(f"{path} varies {fixed[0]}; a search has one environment")
    return {name: _read_domain(config, name, entry, path) for name, entry in entries.items()}


def _check_changeable(entries: dict[str, Any], path: Path) -> None:
    """Raise LabError if there are no entries, or entries that must not change during a run."""
    fixed = sorted(entries.keys() - CHANGEABLE_SETTINGS)
    if fixed or not entries:
        allowed = ", ".join(sorted(CHANGEABLE_SETTINGS))
        raise LabError(
            f"{path} varies {', '.join(fixed) or 'no setting'}; pbt changes settings during a run, so it can vary only:"
            f" {allowed}"
        )


def _read_domain(config: Config, name: str, entry: Any, path: Path) -> Domain:
    """Return the domain of one setting.

    The configuration checks the limits and converts them to the type of the setting: YAML reads 1e-4 as text.
    """
    limits = [
        replace_settings(config, {name: limit}, str(path)).to_dict()[name] for limit in _limits(name, entry, path)
    ]
    if isinstance(entry, list):
        return tune.choice(limits)
    low, high = limits
    is_log = bool(entry.get("log"))
    if isinstance(low, int) and isinstance(high, int):
        return tune.lograndint(low, high + 1) if is_log else tune.randint(low, high + 1)
    return tune.loguniform(low, high) if is_log else tune.uniform(low, high)


def _limits(name: str, entry: Any, path: Path) -> list[Any]:
    """Return the values that must be valid so that all values of the domain are: the choices, or the two ends."""
    if isinstance(entry, list) and entry:
        return entry
    if isinstance(entry, dict) and {"low", "high"} <= entry.keys() <= {"low", "high", "log"}:
        low = _to_number(entry["low"])
        high = _to_number(entry["high"])
        if low is not None and high is not None and low < high and (low > 0 or not entry.get("log")):
            return [low, high]
    raise ConfigError(
        f"{name} is {entry!r} in {path}; it must be a list of values, or {{low: .., high: .., log: true}}"
    )


def _to_number(value: Any) -> int | float | None:
    """Return a number that YAML may have read as text, or None if the value is no number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
