"""Watch the agent of a run play, in a window, on a web page, in a terminal or in a video."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from agents.core.agent import Agent
from envs.headless import has_display
from envs.spec import EnvSpec
from rl_lab.analysis.saliency import SaliencyMethod, available_saliency_methods
from rl_lab.errors import LabError
from rl_lab.experiment.factory import make_cpu_agent
from rl_lab.experiment.registry import load_env_plugins
from rl_lab.experiment.run import Run
from rl_lab.system.printable import print_line
from rl_lab.system.signals import stop_signals_interrupt
from rl_lab.system.update_speed import torch_threads
from rl_lab.watch.checkpoint_selector import CheckpointSelector, SelectableCheckpoints, newest_checkpoint
from rl_lab.watch.controls import KEYS, Controls
from rl_lab.watch.player import Player
from rl_lab.watch.rendered_env import RenderedEnv
from rl_lab.watch.show_games import ShowResult, frame_rate, show_games
from rl_lab.watch.sinks.frame_sink import FrameSink
from rl_lab.watch.sinks.terminal import TerminalSink
from rl_lab.watch.sinks.video import VideoSink, check_video_suffix
from rl_lab.watch.sinks.window import WindowSink
from rl_lab.watch.watch_options import SinkName, WatchOptions


def watch_run(
    run: Run, options: WatchOptions, *, seed: int = 0, which: str | None = None, quiet: bool = False
) -> ShowResult | None:
    """Show episodes of a run's agent until the episodes are over, or Ctrl-C, SIGTERM or SIGHUP arrives.

    Args:
        run: The run.
        options: How the episodes are shown.
        seed: Seed of the episodes.
        which: The checkpoint: "best", "last" or an agent step. None is the best one, or else the last one.
        quiet: Print neither the scores at the end nor how many episodes were cut.

    Returns:
        The scores, or None if a signal ended the episodes.

    Raises:
        LabError: Options contradict each other, or there is no checkpoint or no display.
        EnvFault: The environment failed.
    """
    sink_name = select_sink(options)
    check_compatible(options, which)
    # One observation at a time is too little work for several threads.
    with contextlib.suppress(KeyboardInterrupt), stop_signals_interrupt(), torch_threads(1):
        return _watch(run, sink_name, options, seed, which, quiet=quiet)
    return None


def _watch(
    run: Run, sink_name: SinkName, options: WatchOptions, seed: int, which: str | None, *, quiet: bool
) -> ShowResult:
    """Load the agent and show its episodes."""
    if options.follow:
        _lower_priority()
        _wait_for_checkpoint(run)
    load_env_plugins()
    agent = make_cpu_agent(run.config, run.env_spec)
    checkpoints = CheckpointSelector(run.path, agent, which)
    if options.follow:
        checkpoints.load_newer()
    return _show(run, agent, checkpoints, sink_name, options, seed, quiet=quiet)


def select_sink(options: WatchOptions) -> SinkName:
    """Return the sink that was requested, otherwise the window if there is a display, otherwise the web page."""
    requested: dict[SinkName, bool] = {
        "video": bool(options.video),
        "web": options.web,
        "window": options.window,
        "terminal": options.terminal,
    }
    names: list[SinkName] = [name for name, is_requested in requested.items() if is_requested]
    if len(names) > 1:
        flags = ", ".join(f"--{name}" for name in names)
        raise LabError(f"choose one of {flags}: episodes are shown in one place")
    if names:
        return names[0]
    return "window" if has_display() else "web"


def check_compatible(options: WatchOptions, which: str | None) -> None:
    """Raise LabError if options contradict each other, or the name of the video has an unknown ending."""
    if options.video:
        check_video_suffix(Path(options.video))
    if options.saliency and options.occlusion:
        raise LabError("choose either --saliency or --occlusion, not both")
    if options.follow and which is not None:
        raise LabError("--follow plays with the newest checkpoint; remove --checkpoint")


def _lower_priority() -> None:
    """Give the training that is followed precedence for the processor.

    Under SCHED_IDLE the viewer runs only on idle cores. "nice" alone would still interrupt the threads of an update,
    which wait for each other.
    """
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    elif hasattr(os, "nice"):
        os.nice(19)


def _wait_for_checkpoint(run: Run) -> None:
    """Wait until the run has a checkpoint."""
    if newest_checkpoint(run.path) is None:
        print_line(f"{run} has no checkpoint yet; waiting for the first one (Ctrl-C stops)")
    while newest_checkpoint(run.path) is None:
        time.sleep(1)


def _show(
    run: Run,
    agent: Agent,
    checkpoints: CheckpointSelector,
    sink_name: SinkName,
    options: WatchOptions,
    seed: int,
    *,
    quiet: bool,
) -> ShowResult:
    """Play and show the episodes, then print the scores unless `quiet`.

    Ctrl-C, SIGTERM and SIGHUP end this without scores.
    """
    epsilon = run.config.run.eval_epsilon if options.epsilon is None else options.epsilon
    method = select_saliency_method(run, agent, options)
    env = RenderedEnv(run.env_spec)
    player = Player(
        agent,
        run.config,
        env,
        epsilon=epsilon,
        seed=seed,
        saliency_method=method,
        max_steps=options.max_steps,
    )
    controls = None
    if sink_name != "video":
        methods = available_saliency_methods(agent, run.env_spec)
        controls = Controls(saliency_method=method, saliency_methods=methods)

    def title() -> str:
        return f"{run.config.agent}, {run.env_spec.name}, step {checkpoints.step:,}, epsilon {epsilon:g}"

    def update_weights() -> None:
        if controls is not None and controls.checkpoint is not None:
            checkpoints.choose(controls.checkpoint)
            controls.checkpoint = None
        elif options.follow and checkpoints.load_newer():
            print_line(f"loaded the checkpoint of step {checkpoints.step:,}")

    episodes = options.episodes
    if episodes is None and sink_name == "video":
        episodes = 1
    fps = frame_rate(player, smooth=options.smooth)
    sink = open_sink(sink_name, options, controls, checkpoints, title, fps, run.env_spec)
    result = show_games(
        player,
        sink,
        title=title,
        episodes=episodes,
        smooth=options.smooth,
        controls=controls,
        after_step=update_weights,
    )
    if not quiet:
        print_scores(f"{run.config.agent} on {run.env_spec.name}", result)
        print_video(sink, result)
        print_cut(result, player)
    return result


def select_saliency_method(run: Run, agent: Agent, options: WatchOptions) -> SaliencyMethod:
    """Return the method that was requested. Raises LabError if it does not work for this agent."""
    method: SaliencyMethod = "off"
    if options.saliency:
        method = "grad-cam"
    elif options.occlusion:
        method = "occlusion"
    available = available_saliency_methods(agent, run.env_spec)
    if method not in available:
        needed = "grey images as observations"
        if available != ("off",):
            needed = "convolutions, and values if actions are continuous; try --occlusion"
        raise LabError(f"{run.config.agent} on {run.env_spec.name} has no {method} map, which needs {needed}")
    return method


def open_sink(
    name: SinkName,
    options: WatchOptions,
    controls: Controls | None,
    checkpoints: SelectableCheckpoints,
    title: Callable[[], str],
    fps: float,
    env_spec: EnvSpec,
    *,
    num_agents: int = 1,
) -> FrameSink:
    """Return the sink, after printing where the games are shown. A video has no controls.

    Args:
        name: The kind of sink.
        options: How the episodes are shown.
        controls: Receives the keys; None for a video.
        checkpoints: The checkpoints that the page offers.
        title: Returns the title of the window or the page.
        fps: Frames per second of a video.
        env_spec: The environment.
        num_agents: Agents side by side.
    """
    if controls is None:
        return VideoSink(Path(options.video), fps)
    if name == "window":
        window = WindowSink(controls, title, num_agents=num_agents)
        print_line(f"in a window; keys: {_describe_keys()}")
        return window
    if name == "web":
        from rl_lab.watch.sinks.web import WebSink  # the web server takes long to import

        page = WebSink(controls, checkpoints, title, host=options.host, port=options.port)
        print_line(f"on the page {page.address} (Ctrl-C stops); keys: {_describe_keys()}")
        return page
    return TerminalSink(title, controls, env_spec)


def _describe_keys() -> str:
    """Return the keys of the controls in one line."""
    names = {" ": "space"}
    return ", ".join(f"{names.get(key, key)}: {action}" for key, action in KEYS.items())


def print_scores(agent: str, result: ShowResult) -> None:
    """Print the scores of an agent."""
    if result.scores:
        scores = ", ".join(f"{score:g}" for score in result.scores)
        print_line(f"{agent}: score {scores}")


def print_video(sink: FrameSink, result: ShowResult) -> None:
    """Print the length of a video."""
    if isinstance(sink, VideoSink):
        print_line(f"{sink.path}: {result.num_frames:,} frames, {result.num_frames / sink.fps:.1f} s")


def print_cut(result: ShowResult, player: Player) -> None:
    """Print a warning if episodes were cut."""
    if result.num_cut:
        episodes = f"{result.num_cut} of {len(result.scores)} episodes"
        print(f"WARNING: {episodes} cut at {player.max_steps:,} steps (--max-steps)")
