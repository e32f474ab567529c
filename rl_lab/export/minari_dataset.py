"""Episodes of a trained agent as a Minari data set: the environment's own observations and actions."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gymnasium import Env, Space
from gymnasium.vector.utils import concatenate, create_empty_array
from gymnasium.wrappers import TimeLimit

from envs.gymnasium_envs import recipe_of
from envs.stream import spread_seeds
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.experiment.trained_agent import TrainedAgent
from rl_lab.system.optional_packages import import_optional
from rl_lab.system.portable_name import portable_name

DATASETS_PATH = "MINARI_DATASETS_PATH"
"""The environment variable that tells Minari where its data sets are."""


def write_minari(run: Run, trained: TrainedAgent, episodes: int, folder: Path, *, seed: int) -> str:
    """Play episodes and write a data set.

    Args:
        run: The run.
        trained: Its agent.
        episodes: Number of episodes.
        folder: Folder for Minari's data sets, which `minari list local` reads if MINARI_DATASETS_PATH names it.
        seed: Seed of the episodes.

    Returns:
        The name of the data set.

    Raises:
        LabError: The package is missing, the run plays an Atari game by name, or the data set exists already.
        EnvFault: The environment failed.
    """
    minari: Any = import_optional("minari", "export --minari")
    import_optional("h5py", "export --minari")
    env_spec = run.env_spec
    if env_spec.backend != "gymnasium":
        raise LabError(
            f"{env_spec.name} runs in the emulator's own threads, without an environment that Minari can record;"
            f" train on a Gymnasium id, such as {env_spec.name}NoFrameskip-v4"
        )
    name = f"rl-lab/{portable_name(env_spec.name)}-{portable_name(run.config.agent)}-s{run.config.run.seed}-v0"
    if (folder / name).exists():
        raise LabError(f"{folder / name} exists already; remove it, or choose another folder with --out")
    recipe = recipe_of(env_spec)
    can_recreate = not env_spec.options.wrappers and isinstance(recipe.gymnasium_spec.entry_point, str)
    guarded = recipe.make_guarded()
    env = TimeLimit(guarded, run.config.run.eval_max_steps)
    buffer_class = import_optional("minari.data_collector.episode_buffer", "export --minari")
    try:
        buffers = [
            buffer_class.EpisodeBuffer(id=i, seed=episode_seed, **_play(env, trained, episode_seed))
            for i, episode_seed in enumerate(spread_seeds(seed, episodes).tolist())
        ]
    finally:
        env.close()
    folder.mkdir(parents=True, exist_ok=True)
    with _datasets_in(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Minari warns of every text about the data set that is missing
        minari.create_dataset_from_buffers(
            name,
            buffers,
            observation_space=guarded.observation_space,
            action_space=guarded.action_space,
            algorithm_name=run.config.agent,
            description=f"{episodes} episodes of {run.config.agent} on {env_spec.name}, by rl_lab",
            env=recipe.gymnasium_spec if can_recreate else None,
        )
    return name


def _play(env: Env, trained: TrainedAgent, seed: int) -> dict[str, Any]:
    """Return an episode as the fields of Minari's `EpisodeBuffer`.

    An agent that learns values takes random actions with the probability `epsilon`; a policy draws its actions.
    """
    obs, info = env.reset(seed=seed)
    observations = [obs]
    actions = []
    fields: dict[str, Any] = {"rewards": [], "terminations": [], "truncations": []}
    state = None
    is_finished = False
    while not is_finished:
        masks = info.get("action_mask") if trained.env_spec.mask_source == "info" else None
        action, state = trained.predict(obs, state, deterministic=trained.epsilon == 0, action_masks=masks)
        obs, reward, terminated, truncated, info = env.step(action)
        observations.append(obs)
        actions.append(action)
        fields["rewards"].append(float(reward))
        fields["terminations"].append(terminated)
        fields["truncations"].append(truncated)
        is_finished = terminated or truncated
    fields["observations"] = _stacked(env.observation_space, observations)
    fields["actions"] = _stacked(env.action_space, actions)
    return fields


def _stacked(space: Space[Any], items: Sequence[Any]) -> Any:
    """Return elements of a space as arrays with a first axis, in the structure of one element (Dict, Tuple)."""
    return concatenate(space, items, create_empty_array(space, len(items)))


@contextmanager
def _datasets_in(folder: Path) -> Iterator[None]:
    """Let Minari write to a folder inside a `with` block."""
    previous = os.environ.get(DATASETS_PATH)
    os.environ[DATASETS_PATH] = str(folder.absolute())
    try:
        yield
    finally:
        if previous is None:
            del os.environ[DATASETS_PATH]
        else:
            os.environ[DATASETS_PATH] = previous
