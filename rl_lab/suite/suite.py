"""A suite: environments, agents, seeds and the evaluation of a study, read from configs/suites/NAME.yaml.

    title: Classic control
    note: A sentence for the page of results.        # optional
    envs: [CartPole-v1, Acrobot-v1]
    protocol: classic                                # of Atari games; optional
    agents:
      dqn: {}                                        # the agent of this name with its own settings
      der: {agent: rainbow, preset: der}             # another name; also `settings`, for this agent only
      ppo: {envs: [CartPole-v1]}                     # only on some of the environments
    steps: 100000                                    # optional: by default each agent's own setting
    env_settings:                                    # of the runs on some environments; optional
      Acrobot-v1: {steps: 60000}
    seeds: 1..5
    settings: {eval_every: 10000}                    # settings of all runs; optional
    evaluation: {when: end, games: 100, epsilon: 0.001, cut: 27000}
    tuned: [CartPole-v1]                             # environments looked at while settings were chosen; optional
    published:                                       # optional, see `rl_lab.suite.published`
      - {name: A2C, source: "Somebody 2016, table 1", scores: {CartPole-v1: 500}}

The entry `env` of `env_settings` gives the environment behind a name of the suite, and `env_args` its arguments. So a
suite may have one environment several times:

    envs: [LostSales-v0, LostSales-L2]
    env_settings:
      LostSales-L2: {env: LostSales-v0, env_args: {lead_time: 2}}

A suite of a user is a YAML file anywhere; its name is that of the file.
"""

from __future__ import annotations

import difflib
import typing
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from agents.core.settings import ConfigError, Count, Fraction, Range, check_fields
from rl_lab.errors import LabError
from rl_lab.experiment.config_layers import read_yaml
from rl_lab.experiment.registry import CONFIGS
from rl_lab.experiment.seed_list import parse_seeds
from rl_lab.system.portable_name import portable_name

SUITES = CONFIGS / "suites"
"""Folder of the suites that are part of the lab."""


@dataclass(frozen=True)
class SuiteEvaluation:
    """The evaluation whose scores are the results of a suite."""

    when: Literal["end"] = "end"
    """After training, with the last network."""
    games: Count = 100
    """Number of episodes."""
    epsilon: Fraction = 0.001
    """Probability of a random action."""
    cut: Count = 27_000
    """Agent steps after which an episode is cut."""


@dataclass(frozen=True)
class SuiteAgent:
    """An agent of a suite."""

    agent: str = ""
    """Name of the agent in the lab."""
    preset: str = "default"
    """Name of a preset of the agent."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of this agent's runs."""
    envs: list[str] = field(default_factory=list)
    """The environments of the suite on which the agent trains. Empty means all."""

    def trains_on(self, env: str) -> bool:
        """Return True if the agent trains on an environment of the suite."""
        return not self.envs or env in self.envs


@dataclass(frozen=True)
class PublishedEntry:
    """Published scores to print beside those of a suite. Exactly one of `scores`, `runs` and `column` is given."""

    name: str
    """Name in tables, and after `published:` on the command line."""
    source: str
    """Paper and table."""
    scores: dict[str, float] = field(default_factory=dict)
    """Environment -> mean score."""
    runs: str = ""
    """Name of the agent in `RUNS_FILE`, which holds the scores of single runs."""
    column: str = ""
    """Name of the column in `MEANS_FILE`, which holds mean scores."""
    recalled: bool = False
    """The scores were transcribed from memory. They need the published `mean` and `median`, which are checked."""
    iqm: float | None = None
    """Published interquartile mean of the normalised scores."""
    median: float | None = None
    """Published median of the normalised scores."""
    mean: float | None = None
    """Published mean of the normalised scores."""


@dataclass(frozen=True)
class Suite:
    """A suite, checked."""

    name: str
    title: str
    envs: list[str]
    agents: dict[str, SuiteAgent]
    seeds: str
    evaluation: SuiteEvaluation
    note: str = ""
    protocol: Literal["auto", "classic", "machado", "v5"] = "auto"
    steps: Annotated[int | None, Range(1)] = None
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of all runs."""
    env_settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Environment -> settings of its runs, which override `steps`, `settings` and those of the agents."""
    tuned: list[str] = field(default_factory=list)
    published: list[PublishedEntry] = field(default_factory=list)

    def steps_on(self, env: str) -> int | None:
        """Return the agent steps of training on an environment, None for those of each agent's own settings."""
        return self.settings_on(env).get("steps", self.steps)

    def settings_on(self, env: str) -> dict[str, Any]:
        """Return the settings of the runs on an environment. `env` is the environment behind the name in the suite."""
        return {"env": env, **self.env_settings.get(env, {})}

    def choose_agents(self, text: str) -> dict[str, SuiteAgent]:
        """Return the agents that a text such as "dqn,rainbow" names, all agents for an empty text. Raises LabError."""
        names = _chosen(text, list(self.agents), "agents", self.name)
        return {name: self.agents[name] for name in names}

    def choose_envs(self, text: str) -> list[str]:
        """Return the environments that a text names, all environments for an empty text. Raises LabError."""
        return _chosen(text, self.envs, "envs", self.name)


def suite_names() -> list[str]:
    """Return the names of the suites that are part of the lab."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def read_suite(name: str) -> Suite:
    """Return a suite.

    Args:
        name: Name of a suite of the lab, or the path of a YAML file.

    Raises:
        LabError: There is no such suite.
        ConfigError: The file cannot be read, or an entry is missing, unknown or has the wrong form.
    """
    is_path = name.endswith((".yaml", ".yml"))
    if not is_path and name not in suite_names():
        nearest = difflib.get_close_matches(name, suite_names(), 1, 0.4)
        known = f"nearest: {nearest[0]}" if nearest else f"the suites are {', '.join(suite_names())}"
        raise LabError(f"unknown suite {name!r}; {known}; a suite of your own is the path of a YAML file")
    path = Path(name) if is_path else SUITES / f"{name}.yaml"
    content = read_yaml(path)
    source = str(path)
    entries = {"name": portable_name(path.stem), **content}
    if "name" in content:
        raise ConfigError(f"{source} has an entry name; the name of a suite is that of its file")
    agents = _mapping(entries.get("agents"), f"agents in {source}")
    entries["agents"] = {str(agent): _suite_agent(str(agent), values, source) for agent, values in agents.items()}
    evaluation = _mapping(entries.get("evaluation", {}), f"evaluation in {source}")
    entries["evaluation"] = _instance(SuiteEvaluation, evaluation, f"evaluation in {source}")
    published = entries.get("published", [])
    if not isinstance(published, list):
        raise ConfigError(f"published in {source} must be a list")
    entries["published"] = [_published_entry(values, source) for values in published]
    suite = _instance(Suite, entries, source)
    _check_suite(suite, source)
    return suite


Entry = TypeVar("Entry", SuiteEvaluation, SuiteAgent, PublishedEntry, Suite)


def _instance(cls: type[Entry], values: dict[str, Any], source: str) -> Entry:
    """Return an instance of a dataclass with these values, after a check. Raises ConfigError."""
    names = [each.name for each in fields(cls)]
    for name in values:
        if name not in names:
            nearest = difflib.get_close_matches(str(name), names, 1, 0.0)[0]
            raise ConfigError(f"{source} has an unknown entry {name!r}; the nearest is {nearest!r}")
    for each in fields(cls):
        if each.default is MISSING and each.default_factory is MISSING and each.name not in values:
            raise ConfigError(f"{source} has no entry {each.name!r}")
    converted = _with_floats(cls, values)
    instance = cls(**converted)
    try:
        check_fields(instance)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    return instance


def _with_floats(cls: type, values: dict[str, Any]) -> dict[str, Any]:
    """Return values with whole numbers as floats, where the type of the field is a float: YAML reads 1 as an int."""
    types = typing.get_type_hints(cls)
    converted = dict(values)
    for name, value in values.items():
        is_float = types[name] is float or float in typing.get_args(types[name])
        if is_float and isinstance(value, int) and not isinstance(value, bool):
            converted[name] = float(value)
    return converted


def _suite_agent(name: str, values: Any, source: str) -> SuiteAgent:
    """Return an agent of a suite. Raises ConfigError."""
    if portable_name(name) != name:
        raise ConfigError(f"{source} has an agent {name!r}; a name may contain letters, digits and _ . -")
    place = f"agent {name} in {source}"
    return _instance(SuiteAgent, {"agent": name, **_mapping(values or {}, place)}, place)


def _published_entry(values: Any, source: str) -> PublishedEntry:
    """Return a published entry. Raises ConfigError."""
    place = f"published in {source}"
    entry = _instance(PublishedEntry, _mapping(values, place), place)
    if sum(map(bool, (entry.scores, entry.runs, entry.column))) != 1:
        raise ConfigError(f"{place}: {entry.name} must have exactly one of scores, runs and column")
    for env, score in entry.scores.items():
        if not isinstance(score, int | float) or isinstance(score, bool):
            raise ConfigError(f"{place}: the score of {entry.name} on {env} is {score!r}; it must be a number")
    if entry.recalled and (entry.mean is None or entry.median is None):
        raise ConfigError(f"{place}: {entry.name} is recalled, so it needs its published mean and median")
    return entry


def _check_suite(suite: Suite, source: str) -> None:
    """Raise ConfigError if entries of a suite contradict each other, LabError if the list of seeds is wrong."""
    if not suite.envs or not all(isinstance(env, str) for env in suite.envs):
        raise ConfigError(f"envs in {source} must be a list of names of environments")
    if not suite.agents:
        raise ConfigError(f"{source} has no agents")
    folders = [portable_name(env) for env in suite.envs]
    if len(set(folders)) < len(folders):
        raise ConfigError(f"envs in {source} has an environment twice")
    for env in suite.tuned:
        if env not in suite.envs:
            raise ConfigError(f"tuned in {source} names {env!r}, which is not among its environments")
    _check_agent_envs(suite, source)
    names = [entry.name for entry in suite.published]
    if len(set(names)) < len(names):
        raise ConfigError(f"published in {source} has a name twice")
    parse_seeds(suite.seeds)


def _check_agent_envs(suite: Suite, source: str) -> None:
    """Raise ConfigError if the environments of an agent, or those of `env_settings`, are not those of the suite."""
    for name, agent in suite.agents.items():
        if not isinstance(agent.envs, list):
            raise ConfigError(f"envs of the agent {name} in {source} must be a list of names of environments")
        for env in agent.envs:
            if env not in suite.envs:
                raise ConfigError(f"the agent {name} in {source} names {env!r}, which is not among the environments")
    for env, settings in suite.env_settings.items():
        if env not in suite.envs:
            raise ConfigError(f"env_settings in {source} names {env!r}, which is not among its environments")
        steps = _mapping(settings, f"env_settings of {env} in {source}").get("steps", 1)
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
            raise ConfigError(f"steps on {env} in {source} is {steps!r}; it must be a whole number of at least 1")


def _mapping(value: Any, place: str) -> dict[str, Any]:
    """Return a mapping unchanged. Raises ConfigError for any other value."""
    if not isinstance(value, dict):
        raise ConfigError(f"{place} must be a mapping")
    return value


def _chosen(text: str, known: list[str], option: str, suite: str) -> list[str]:
    """Return the names in a text, separated by commas; all known names for an empty text. Raises LabError."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 1, 0.4)
            advice = f"nearest: {nearest[0]}" if nearest else f"the suite has {', '.join(known)}"
            raise LabError(f"{option} is {text!r}; the suite {suite} has no {name!r}; {advice}")
    if len(set(names)) < len(names):
        raise LabError(f"{option} is {text!r}; it names {max(names, key=names.count)} twice")
    return names or known
