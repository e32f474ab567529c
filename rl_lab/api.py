"""The Python interface: the commands `train`, `resume` and `eval` as functions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import gymnasium
import torch

from agents.core.agent import Agent
from agents.core.settings import ConfigError, Count, Range, check_fields
from envs import make
from envs.atari import games
from envs.gymnasium_envs import trainable_ids
from envs.options import DEFAULT_OPTIONS, EnvOptions
from envs.registration import register_object
from envs.spec import AtariProtocol, EnvSpec
from envs.worlds import WORLDS
from rl_lab import checkpoint
from rl_lab.errors import LabError
from rl_lab.experiment import config, factory, launch
from rl_lab.experiment.config_layers import DEFAULT_PRESET, ConfigFile
from rl_lab.experiment.env_settings import env_options, env_options_from, settings_of
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.experiment.run import Run
from rl_lab.experiment.run_config import RunConfig, Seed
from rl_lab.experiment.setting_names import canonical_names
from rl_lab.experiment.trained_agent import TrainedAgent
from rl_lab.tracking.metric_names import SCORE_METRIC, XAxis
from rl_lab.training import evaluation
from rl_lab.training.evaluation import EvaluatedAgent, Evaluation, EvaluationProgress
from rl_lab.training.hooks import Callback

if TYPE_CHECKING:
    from rl_lab.compare.run_comparison import RunComparison
    from rl_lab.watch.recorded_video import RecordedVideo

RUN_SETTINGS = {field.name for field in fields(RunConfig)}
"""Names of the settings that do not depend on the agent."""


@dataclass(frozen=True)
class EvaluationOptions:
    """The options of an evaluation. None means the setting of the run."""

    episodes: Count = 10
    """Number of episodes."""
    epsilon: Annotated[float | None, Range(0, 1)] = None
    """Probability of a random action. None: `eval_epsilon`."""
    seed: Seed = 0
    """Seed of the environments and of random actions. The games are never those of training."""
    max_steps: Annotated[int | None, Range(1)] = None
    """Agent steps after which an episode is cut. None: `eval_max_steps`."""


def train(
    agent: str,
    *,
    env: str | EnvSpec | gymnasium.Env | Callable[[], gymnasium.Env],
    preset: str = "default",
    config_file: str | None = None,
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> Run:
    """Train an agent on an environment, and return the run.

    Args:
        agent: Name of the agent, as `list agents` shows it.
        env: Name of an Atari game, a Gymnasium id, an `EnvSpec`, a callable that makes an environment (a class or a
            function), or an environment. The environment itself is not used, but made again from its spec, or copied.
        preset: Name of a preset in the agent's YAML file.
        config_file: A YAML file of settings.
        quiet: Print nothing.
        callbacks: Functions that are called with the `TrainingSession` after every row (one step of every environment),
            before metrics are logged. One that returns False ends training after this row; the agent is then
            evaluated and saved.
        **settings: Settings of the run (`RunConfig`) and of the agent (its config class). Names that Stable-Baselines3
            and CleanRL use are accepted too (`rl_lab.experiment.setting_names`).

    Raises:
        ConfigError, EnvError, LabError: The run cannot start. The message is one line, and no folder is left behind.
        Fault: An error ended training. The message names the command that resumes the run.
        Interrupted: A signal stopped training. A checkpoint was saved.
    """
    file = ConfigFile.read(config_file) if config_file else None
    if isinstance(env, EnvSpec):
        settings = {"env": env.id, **settings_of(env.options), **settings}
        return launch.train(
            config.resolve(agent, env, settings, preset=preset, file=file), env, quiet=quiet, callbacks=callbacks
        )
    name = env if isinstance(env, str) else register_object(env)
    settings = canonical_names({"env": name, **settings}, RUN_SETTINGS | settings.keys(), "the call")
    resolved, env_spec = resolve_run(agent, name, settings, preset=preset, file=file)
    return launch.train(resolved, env_spec, quiet=quiet, callbacks=callbacks)


def resolve_run(
    agent: str, env: str, settings: dict[str, Any], *, preset: str = DEFAULT_PRESET, file: ConfigFile | None = None
) -> tuple[config.Config, EnvSpec]:
    """Return the configuration of a run and the spec of its environment.

    How the environment is made depends on settings, and defaults of other settings depend on the environment. So the
    environment is made from the settings of the call and the file, and once more if a preset changes one of these.

    Arguments of the environment's constructor (`env_args`) in the call are added to those of the file.

    Args:
        agent: Name of the agent.
        env: Name of an Atari game, or a Gymnasium id.
        settings: The settings of the call, under their own names.
        preset: Name of a preset of the agent.
        file: The content of a `--config` file.

    Raises:
        ConfigError, EnvError: A setting is wrong, or the environment cannot be made.
    """
    protocol = settings.get("protocol", file.protocol if file else "auto")
    if file and isinstance(settings.get("env_args"), dict):
        settings = {**settings, "env_args": {**file.env_args, **settings["env_args"]}}
    of_file = canonical_names(file.settings, RUN_SETTINGS | file.settings.keys(), file.path) if file else {}
    options = env_options_from({**of_file, **settings})
    env_spec = resolve_env(env, protocol, options)
    resolved = config.resolve(agent, env_spec, settings, preset=preset, file=file)
    final_options = env_options(resolved.run)
    if final_options != options:
        env_spec = resolve_env(env, protocol, final_options)
        resolved = config.resolve(agent, env_spec, settings, preset=preset, file=file)
    return resolved, env_spec


def resume(
    run: str | Path | Run,
    *,
    steps: int | None = None,
    address: str = "",
    env: gymnasium.Env | Callable[[], gymnasium.Env] | None = None,
    runs_dir: str = "runs",
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Resume a run from its last checkpoint. The result equals that of a run that was never stopped.

    Args:
        run: The run, or its name (`Run.find`).
        steps: New total of agent steps, to extend the run.
        address: New address of the Ray cluster of the run's collectors.
        env: The environment or callable that `train` received, if it was one.
        runs_dir: Folder of the run folders.
        quiet: Print nothing.
        callbacks: As `train`.

    Raises:
        LabError: There is no checkpoint, or the run already has more than `steps` steps.
        Fault, Interrupted: As `train`.
    """
    load_env_plugins()
    run = Run.find(run, runs_dir)
    _provide_env(run, env)
    return launch.resume(run, steps=steps, address=address, quiet=quiet, callbacks=callbacks)


def load(
    run: str | Path | Run,
    *,
    which: str | None = None,
    env: gymnasium.Env | Callable[[], gymnasium.Env] | None = None,
    runs_dir: str = "runs",
) -> TrainedAgent:
    """Return the trained agent of a run, on the CPU. Its method `predict` takes and returns NumPy arrays.

    Args:
        run: The run, or its name (`Run.find`).
        which: The checkpoint: "best", "last" or an agent step. None is the best one, or else the last one.
        env: The environment or callable that `train` received, if it was one.
        runs_dir: Folder of the run folders.
    """
    run = Run.find(run, runs_dir)
    _provide_env(run, env)
    return TrainedAgent(load_agent(run, which=which), run.env_spec, epsilon=run.config.run.eval_epsilon)


def load_agent(run: Run, *, which: str | None = None) -> Agent:
    """Return the trained agent of a run, on the CPU, as the modules of the lab use it.

    Args:
        run: The run.
        which: The checkpoint: "best", "last" or an agent step. None is the best one, or else the last one.
    """
    load_env_plugins()
    folder = checkpoint.find(run.path, which)
    agent = factory.make_cpu_agent(run.config, run.env_spec)
    checkpoint.load_network(folder, agent)
    return agent


def evaluate(
    run: str | Path | Run,
    *,
    episodes: int = 10,
    epsilon: float | None = None,
    seed: int = 0,
    max_steps: int | None = None,
    which: str | None = None,
    env: gymnasium.Env | Callable[[], gymnasium.Env] | None = None,
    runs_dir: str = "runs",
) -> Evaluation:
    """Evaluate a checkpoint of a run. The same checkpoint and seed give the same scores.

    Args:
        run: The run, or its name (`Run.find`).
        episodes: Number of episodes.
        epsilon: Probability of a random action. None is the run's setting `eval_epsilon`.
        seed: Seed of the environments and of random actions.
        max_steps: Agent steps after which an episode is cut. None is the run's setting `eval_max_steps`.
        which: The checkpoint: "best", "last" or an agent step. None is the best one, or else the last one.
        env: The environment or callable that `train` received, if it was one.
        runs_dir: Folder of the run folders.

    Raises:
        ConfigError: A number is out of range.
        LabError: The run or the checkpoint does not exist.
        EnvFault: The environment failed.
    """
    options = EvaluationOptions(episodes, epsilon, seed, max_steps)
    check_fields(options)
    run = Run.find(run, runs_dir)
    _provide_env(run, env)
    return evaluate_agent(run, load_agent(run, which=which), options)


def show(
    run: str | Path | Run,
    *,
    seed: int = 0,
    which: str | None = None,
    env: gymnasium.Env | Callable[[], gymnasium.Env] | None = None,
    runs_dir: str = "runs",
    quiet: bool = False,
    **options: Any,
) -> RecordedVideo | None:
    """Show episodes of a run's agent, as the command `watch` does. With `video`, return the video too.

    Args:
        run: The run, or its name (`Run.find`).
        seed: Seed of the episodes.
        which: The checkpoint: "best", "last" or an agent step. None is the best one, or else the last one.
        env: The environment or callable that `train` received, if it was one.
        runs_dir: Folder of the run folders.
        quiet: Print nothing at the end.
        **options: The options of `rl_lab.watch.watch_options.WatchOptions`: video="pong.mp4", web=True, episodes=3, ...

    Raises:
        ConfigError: An option is unknown or out of range.
        LabError: Options contradict each other, or there is no checkpoint or no display.
    """
    from rl_lab.watch.recorded_video import RecordedVideo
    from rl_lab.watch.watch_options import WatchOptions
    from rl_lab.watch.watch_run import watch_run  # loads video codecs, which most programs do not need

    unknown = options.keys() - {field.name for field in fields(WatchOptions)}
    if unknown:
        raise ConfigError(f"unknown option {min(unknown)!r} of show")
    watch_options = WatchOptions(**options)
    check_fields(watch_options)
    run = Run.find(run, runs_dir)
    _provide_env(run, env)
    result = watch_run(run, watch_options, seed=seed, which=which, quiet=quiet)
    if result is None or not watch_options.video:
        return None
    return RecordedVideo.read(Path(watch_options.video), result.scores)


def watch(
    run: str | Path | Run,
    *,
    seed: int = 0,
    which: str | None = None,
    env: gymnasium.Env | Callable[[], gymnasium.Env] | None = None,
    runs_dir: str = "runs",
    **options: Any,
) -> RecordedVideo:
    """Return a video of episodes of a run's agent, which a notebook shows.

    Args:
        run: The run, or its name (`Run.find`).
        seed: Seed of the episodes.
        which: The checkpoint: "best", "last" or an agent step. None is the best one, or else the last one.
        env: The environment or callable that `train` received, if it was one.
        runs_dir: Folder of the run folders.
        **options: The options of `show` that concern a video: episodes=3, smooth=True, saliency=True, epsilon=0.0, ...

    Raises:
        ConfigError: An option is unknown or out of range.
        LabError: Options contradict each other, or there is no checkpoint.
        KeyboardInterrupt: Ctrl-C ended the recording.
    """
    from rl_lab.watch.sinks.video import SUFFIX

    forbidden = options.keys() & {"video", "web", "window", "terminal", "follow"}
    if forbidden:
        raise ConfigError(f"watch has no option {min(forbidden)!r}, because it returns a video; use rl_lab.show")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"episodes{SUFFIX}"
        video = show(run, seed=seed, which=which, env=env, runs_dir=runs_dir, quiet=True, video=str(path), **options)
    if video is None:
        raise KeyboardInterrupt
    return video


def compare(
    runs: Sequence[str | Path | Run] | str | Path | Run,
    *,
    metric: str = SCORE_METRIC,
    x: XAxis = "steps",
    target: float | None = None,
    force: bool = False,
    runs_dir: str = "runs",
) -> RunComparison:
    """Compare agents over seeds: a table and a figure, which a notebook shows.

    Args:
        runs: Runs and names as the command `compare` takes them: run folders, folders of runs, groups, agents, ...
        metric: Name of a metric in metrics.jsonl.
        x: X-axis of the figure: "steps", "frames" or "minutes".
        target: Target score. None: the target in the runs' settings.
        force: Compare runs whose environments have different properties. `warnings` then says so.
        runs_dir: Folder of the run folders.

    Raises:
        ConfigError: `x` is unknown.
        LabError: A name refers to no run, no run can be compared, or the runs differ in their environments.
    """
    from rl_lab.compare.checks import find_caveats, find_incompatibilities
    from rl_lab.compare.comparison import Comparison
    from rl_lab.compare.run_comparison import RunComparison
    from rl_lab.compare.run_result import read_results
    from rl_lab.compare.runs import find_runs

    if x not in get_args(XAxis):
        raise ConfigError(f"x is {x!r}; it must be one of {', '.join(get_args(XAxis))}")
    if isinstance(runs, str | Path | Run):
        runs = [runs]
    load_env_plugins()
    found = find_runs([str(run.path if isinstance(run, Run) else run) for run in runs], runs_dir)
    results, problems = read_results(found.runs, metric)
    problems = found.problems + problems
    if not results:
        raise LabError("; ".join([*problems, "there is no run left to compare"]))
    incompatibilities = find_incompatibilities(results)
    if incompatibilities and not force:
        raise LabError(f"{'; '.join(incompatibilities)}; force=True compares the runs anyway")
    comparison = Comparison.from_results(results, metric, target)
    return RunComparison(comparison, x, incompatibilities + find_caveats(results), problems)


def evaluate_agent(
    run: Run,
    agent: EvaluatedAgent,
    options: EvaluationOptions,
    after_row: Callable[[EvaluationProgress], None] = lambda _: None,
) -> Evaluation:
    """Evaluate an agent on the CPU, in the environment of a run.

    Args:
        run: The run.
        agent: The agent.
        options: The options of the evaluation.
        after_row: Called after every row.
    """
    settings = run.config
    stream = factory.make_eval_envs(settings, run.env_spec, options.episodes)
    try:
        return evaluation.evaluate(
            agent,
            stream,
            episodes=options.episodes,
            epsilon=settings.run.eval_epsilon if options.epsilon is None else options.epsilon,
            seed=evaluation.seed_unlike_training(options.seed, settings.run.seed),
            device=torch.device("cpu"),
            max_steps=options.max_steps or settings.run.eval_max_steps,
            after_row=after_row,
        )
    finally:
        stream.close()


def resolve_env(name: str, protocol: str = "auto", options: EnvOptions = DEFAULT_OPTIONS) -> EnvSpec:
    """Return the spec of an environment, which an installed package may have added.

    Args:
        name: Name of an Atari game, or a Gymnasium id.
        protocol: Protocol of an Atari game. "auto" is the one that the name implies.
        options: How the environment is made.

    Raises:
        EnvError: The environment or the protocol is unknown.
    """
    load_env_plugins()
    if protocol == "auto":
        return make.resolve(name, options=options)
    return make.resolve(name, cast(AtariProtocol, protocol), options)  # raises EnvError for any other text


def _provide_env(run: Run, env: gymnasium.Env | Callable[[], gymnasium.Env] | None) -> None:
    """Register the Python object with which the environment of a run is made. None: it is made by its id.

    Raises:
        LabError: The run was trained on another environment.
    """
    if env is None:
        return
    env_id = register_object(env)
    if run.env_spec.id != env_id:
        raise LabError(f"{run} was trained on {run.env_spec.id}, not on {env_id}")


def environments() -> dict[str, list[str]]:
    """Return the names of all environments by kind: Atari games, Gymnasium ids, worlds, those of installed packages."""
    plugins = load_env_plugins()
    gymnasium_ids = [env_id for env_id in trainable_ids() if env_id not in WORLDS]
    names = {"Atari games": list(games()), "Gymnasium": gymnasium_ids, "worlds (docs/worlds.md)": list(WORLDS)}
    if plugins:
        names["installed packages"] = plugins
    return names
