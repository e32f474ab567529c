"""Watch the agents of two runs play the same games side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from agents.core.agent import Agent
from rl_lab.analysis.saliency import SaliencyMethod, available_saliency_methods
from rl_lab.errors import LabError
from rl_lab.experiment.factory import make_cpu_agent
from rl_lab.experiment.human_scores import game_conditions
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.experiment.run import Run
from rl_lab.system.signals import stop_signals_interrupt
from rl_lab.system.update_speed import torch_threads
from rl_lab.training.evaluation import seed_unlike_training
from rl_lab.watch.checkpoint_selector import CheckpointSelector
from rl_lab.watch.controls import Controls
from rl_lab.watch.player import Player, PlayerStep
from rl_lab.watch.rendered_env import RenderedEnv
from rl_lab.watch.show_games import ShowResult, frame_rate
from rl_lab.watch.show_pair import show_pair
from rl_lab.watch.watch_options import SinkName, WatchOptions
from rl_lab.watch.watch_run import (
    check_compatible,
    open_sink,
    print_cut,
    print_scores,
    print_video,
    select_saliency_method,
    select_sink,
)


def watch_pair(
    runs: Sequence[Run], options: WatchOptions, *, seed: int = 0, which: str | None = None
) -> list[ShowResult] | None:
    """Show the agents of runs side by side, in a window, on the web page or in a video.

    Args:
        runs: The runs, of the same environment.
        options: How the episodes are shown.
        seed: Seed of the episodes, the same for all agents.
        which: The checkpoint of each run: "best", "last" or an agent step. None is the best one, or else the last one.

    Returns:
        The scores of each agent, or None if a signal ended the episodes.

    Raises:
        LabError: The runs have different environments, options contradict each other, or there is no checkpoint or no
            display.
        EnvFault: The environment failed.
    """
    sink_name = select_sink(options)
    check_compatible(options, which)
    if sink_name == "terminal" or options.follow:
        flag = "--follow" if options.follow else "--terminal"
        raise LabError(f"{flag} shows one run; two runs are shown in a window, on the page or in a video")
    first, *others = runs
    for other in others:
        if game_conditions(other.env_spec) != game_conditions(first.env_spec):
            raise LabError(f"{first} and {other} play different games: {first.env_spec} and {other.env_spec}")
    with contextlib.suppress(KeyboardInterrupt), stop_signals_interrupt(), torch_threads(1):
        return _watch(runs, sink_name, options, seed, which)
    return None


class PairedCheckpoints:
    """The checkpoints of several runs. A choice concerns all runs that have a checkpoint of this name."""

    def __init__(self, selectors: Sequence[CheckpointSelector]) -> None:
        self.selectors = selectors

    @property
    def name(self) -> str:
        """Return the name of the first run's checkpoint."""
        return self.selectors[0].name

    @property
    def names(self) -> list[str]:
        """Return the names of the first run's checkpoints."""
        return self.selectors[0].names

    def choose(self, name: str) -> None:
        """Load the checkpoint with this name into each agent whose run has it; "next" is the next one of each run."""
        for selector in self.selectors:
            if name == "next" or name in selector.names:
                selector.choose(name)


def common_seed(seed: int, training_seeds: Sequence[int]) -> int:
    """Return the seed of games that no run was trained on: `seed`, or one that is derived from it."""
    for training_seed in training_seeds:
        if seed == training_seed:
            return seed_unlike_training(seed, training_seed)
    return seed


def _watch(
    runs: Sequence[Run], sink_name: SinkName, options: WatchOptions, seed: int, which: str | None
) -> list[ShowResult]:
    """Load the agents, show their episodes, and print the scores."""
    load_env_plugins()
    agents = [make_cpu_agent(run.config, run.env_spec) for run in runs]
    checkpoints = PairedCheckpoints(
        [CheckpointSelector(run.path, agent, which) for run, agent in zip(runs, agents, strict=True)]
    )
    players = _make_players(runs, agents, options, seed)
    controls = None if sink_name == "video" else _make_controls(runs, players)
    newest: list[PlayerStep] = []

    def titles() -> list[str]:
        return [
            f"{run.config.agent}, {run.env_spec.name}, step {selector.step:,}, epsilon {player.epsilon:g}"
            for run, selector, player in zip(runs, checkpoints.selectors, players, strict=True)
        ]

    def update(steps: Sequence[PlayerStep]) -> None:
        newest[:] = steps
        if controls is not None and controls.checkpoint is not None:
            checkpoints.choose(controls.checkpoint)
            controls.checkpoint = None

    def title() -> str:
        scores = " : ".join(f"{step.score:g}" for step in newest) or "0 : 0"
        return f"{' and '.join(run.config.agent for run in runs)}, {runs[0].env_spec.name}, scores {scores}"

    episodes = 1 if options.episodes is None and sink_name == "video" else options.episodes
    fps = frame_rate(players[0], smooth=options.smooth)
    sink = open_sink(sink_name, options, controls, checkpoints, title, fps, runs[0].env_spec, num_agents=len(runs))
    results = show_pair(
        players, sink, titles=titles, episodes=episodes, smooth=options.smooth, controls=controls, after_step=update
    )
    for run, player, result in zip(runs, players, results, strict=True):
        print_scores(f"{run.config.agent} of {run}", result)
        print_cut(result, player)
    print_video(sink, results[0])
    return results


def _make_players(runs: Sequence[Run], agents: Sequence[Agent], options: WatchOptions, seed: int) -> list[Player]:
    """Return a player for each agent, all with the same games."""
    # The methods come first: they may be refused, and environments that were made would stay open.
    methods: list[SaliencyMethod] = [
        select_saliency_method(run, agent, options) for run, agent in zip(runs, agents, strict=True)
    ]
    shared_seed = common_seed(seed, [run.config.run.seed for run in runs])
    players: list[Player] = []
    for run, agent, method in zip(runs, agents, methods, strict=True):
        player = Player(
            agent,
            run.config,
            RenderedEnv(run.env_spec),
            epsilon=run.config.run.eval_epsilon if options.epsilon is None else options.epsilon,
            seed=seed,
            saliency_method=method,
            max_steps=options.max_steps,
        )
        player.seed = shared_seed
        players.append(player)
    return players


def _make_controls(runs: Sequence[Run], players: Sequence[Player]) -> Controls:
    """Return controls with the saliency methods that all agents support."""
    available = [
        available_saliency_methods(player.agent, run.env_spec) for run, player in zip(runs, players, strict=True)
    ]
    common: tuple[SaliencyMethod, ...] = tuple(
        method for method in available[0] if all(method in each for each in available)
    )
    return Controls(saliency_method=players[0].saliency_method, saliency_methods=common)
