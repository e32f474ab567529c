"""Gymnasium environments. (ALE's vector environment runs the Atari games by name: envs/atari.py.)

`EnvRecipe` holds all that is needed to make an environment, in any process. The environment that Gymnasium makes is put
into the wrappers of the person, then into `GuardedEnv` (envs/guard.py), and then into `AgentEnv` (envs/agent_env.py).
"""

from __future__ import annotations

import contextlib
import enum
import importlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import cloudpickle
import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import AddRenderObservation, TimeLimit

from envs.agent_env import (
    MASK_KEY,
    AgentEnv,
    MaskSource,
    action_bounds,
    action_parts,
    check_actions,
    mask_source,
)
from envs.atari import find_game
from envs.errors import EnvError, EnvFault
from envs.global_random import global_generators_seeded
from envs.guard import GuardedEnv, describe
from envs.headless import initialise_pygame_without_display
from envs.main_module import main_module_hidden
from envs.observation_layout import ObservationLayout, observation_layout
from envs.optional_packages import install_advice
from envs.options import DEFAULT_OPTIONS, EnvOptions, OptionError, Vectorization, WrapperSpec, parse_crop
from envs.probe import probe
from envs.registration import find_gymnasium_spec, one_line
from envs.spec import EnvSpec
from envs.stream import spread_seeds

DISCRETE_STATE_MAX_STEPS = 1_000
"""Episodes of environments with discrete states are truncated after this number of steps, unless the id of the
environment sets a limit of its own. In a grid world, a greedy policy may otherwise walk forever."""

CROPS = {"CartPole-v0": "150:350,0:600", "CartPole-v1": "150:350,0:600"}
"""The part of the rendered picture that the view "pixels" uses, by id: where something moves."""


@dataclass(frozen=True)
class EnvRecipe:
    """All that is needed to make an environment, in any process."""

    gymnasium_spec: GymnasiumSpec
    options: EnvOptions
    mask_source: MaskSource = ""
    own_generators: bool = False  # see `GuardedEnv`

    def make(self, render_mode: str | None = None) -> AgentEnv:
        """Return the environment with all wrappers.

        Args:
            render_mode: Gymnasium's render mode, such as "rgb_array", or None for no rendering.

        Raises:
            EnvError: The environment cannot be created, does not have the render mode, or has unsupported spaces.
        """
        env: gymnasium.Env = self.make_guarded(render_mode)
        layout = self.layout(env)
        if _needs_time_limit(env, layout):
            env = TimeLimit(env, DISCRETE_STATE_MAX_STEPS)
        return AgentEnv(env, self.gymnasium_spec.id, layout, self.mask_source)

    def make_guarded(self, render_mode: str | None = None) -> GuardedEnv:
        """Return the environment with the wrappers of the person, and with its own spaces. Raises EnvError."""
        options = self.options
        if options.pixels and render_mode is None:
            render_mode = "rgb_array"
        if options.pixels:
            initialise_pygame_without_display()
        name = self.gymnasium_spec.id
        env = _make_unwrapped(self.gymnasium_spec, options.env_args, render_mode)
        try:
            for wrapper in options.wrappers:
                env = _wrap(env, wrapper)
            if options.pixels:
                env = AddRenderObservation(env, render_only=True)
        except EnvError:
            raise
        except (Exception, SystemExit) as error:
            raise EnvError(f"{name} cannot be shown as pixels: {describe(error)}") from error
        _check_has_spaces(name, env)
        return GuardedEnv(env, name, obs_key=options.obs_key, own_generators=self.own_generators)

    def layout(self, env: gymnasium.Env) -> ObservationLayout:
        """Return how the observations of the environment are converted. Raises EnvError for unsupported spaces."""
        name = self.gymnasium_spec.id
        check_actions(name, env.action_space)
        space = env.observation_space
        num_masked = 0
        if self.mask_source:
            assert isinstance(env.action_space, Discrete)
            num_masked = int(env.action_space.n)
        if self.mask_source == "observation":
            assert isinstance(space, Dict)
            space = Dict({key: child for key, child in space.spaces.items() if key != MASK_KEY})
        return observation_layout(name, space, self.options, num_masked)


def _check_has_spaces(name: str, env: gymnasium.Env) -> None:
    """Raise EnvError if an environment has no observation space or no action space."""
    for attribute in ("observation_space", "action_space"):
        try:
            getattr(env, attribute)
        except (Exception, SystemExit) as error:  # an attribute may be a property, which is the user's code
            raise EnvError(f"{name} has no {attribute}: {describe(error, env)}") from error


def _needs_time_limit(env: gymnasium.Env, layout: ObservationLayout) -> bool:
    """Return True if an environment has discrete states, and nobody limits the steps of its episodes."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, TimeLimit):
            return False
        env = env.env
    return bool(layout.state_sizes)


def recipe_of(env_spec: EnvSpec) -> EnvRecipe:
    """Return the recipe of a resolved spec. Raises EnvError if the environment is not registered in this process."""
    # Worker processes receive Gymnasium's spec, because an id that was registered in this process is unknown to them.
    return EnvRecipe(
        find_gymnasium_spec(env_spec.id),
        env_spec.options,
        mask_source=env_spec.mask_source,
        own_generators=env_spec.global_random,
    )


def resolve(env_id: str, options: EnvOptions = DEFAULT_OPTIONS) -> EnvSpec:
    """Return the spec of a registered id. It may be an Atari id that `envs.atari` does not run, such as Pong-v4.

    The environment is tried for a moment: see `envs.probe`.

    Args:
        env_id: The id.
        options: How the environment is made.

    Raises:
        EnvError: The environment cannot be created, fails in its first steps, or has unsupported spaces; or an option
            is wrong.
    """
    gymnasium_spec = find_gymnasium_spec(env_id)
    if options.pixels and not options.crop:
        options = replace(options, crop=CROPS.get(gymnasium_spec.id, ""))
    try:
        parse_crop(options.crop)
    except OptionError as error:
        raise EnvError(str(error)) from error
    recipe = EnvRecipe(gymnasium_spec, options)
    # An environment may change the working directory, from which the paths of the settings start.
    with contextlib.chdir("."):
        try:
            with global_generators_seeded(0):
                with _warnings_shown():
                    guarded = recipe.make_guarded()
                with contextlib.closing(guarded):
                    recipe = replace(recipe, mask_source=_find_mask_source(env_id, guarded, options))
                    env_spec = _spec(env_id, guarded, recipe)
            result = probe(partial(_make_as_specified, recipe, env_spec))
        except EnvFault as fault:
            raise EnvError(str(fault)) from fault
    return replace(
        env_spec,
        reproducible=result.reproducible and not gymnasium_spec.nondeterministic,
        global_random=result.global_random,
        picklable=_is_picklable(recipe),
    )


def make_vector_env(
    env_spec: EnvSpec, num_envs: int, vectorization: Vectorization = "auto", *, seed: int = 0
) -> VectorEnv:
    """Return `num_envs` environments of `env_spec` as one of Gymnasium's vector environments.

    With the vectorization "auto", environments with images run in a process of their own each. All others run in this
    process, because their steps are fast, and so do environments that cannot be pickled.

    Args:
        env_spec: Specification of the environments.
        num_envs: Number of environments.
        vectorization: How the environments run.
        seed: From this number the seeds of the global generators are derived from which constructors may draw.

    Raises:
        EnvError: The environments cannot be created.
    """
    recipe = recipe_of(env_spec)
    creator = os.getpid()

    def make_seeded(env_seed: int) -> gymnasium.Env:
        # AsyncVectorEnv calls the first function in this process too. Only workers may ignore SIGINT, which Ctrl-C
        # sends to all processes: this process closes the workers. In a session of their own, they also receive neither
        # SIGHUP of a lost terminal nor SIGTERM that is sent to the process group.
        if os.getpid() != creator:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            with suppress(OSError):
                os.setsid()
        with global_generators_seeded(env_seed):
            return _make_as_specified(recipe, env_spec)

    functions = [partial(make_seeded, env_seed) for env_seed in spread_seeds(seed, num_envs).tolist()]
    if not uses_processes(env_spec, vectorization):
        return SyncVectorEnv(functions, autoreset_mode=AutoresetMode.NEXT_STEP)
    return _start_workers(env_spec.name, functions)


def _make_as_specified(recipe: EnvRecipe, env_spec: EnvSpec) -> AgentEnv:
    """Return the environment. Raises EnvError if its spaces are not those of the spec: a constructor may draw them."""
    env = recipe.make()
    space = env.action_space
    num_actions = int(space.n) if isinstance(space, Discrete) else len(action_bounds(space))
    expected_actions = env_spec.num_actions or len(env_spec.action_bounds)
    if env_spec.action_numbers:  # a person has restricted the actions
        expected_actions = num_actions
    shape = env.observation_space.shape
    if (shape, num_actions) != (env_spec.frame, expected_actions):
        raise EnvError(
            f"{env_spec.name} has observations of shape {shape} and {num_actions} actions, but had shape"
            f" {env_spec.frame} and {expected_actions} actions before; its spaces must always be the same"
        )
    return env


def uses_processes(env_spec: EnvSpec, vectorization: Vectorization) -> bool:
    """Return True if each environment runs in a process of its own."""
    if vectorization == "auto":
        return env_spec.family in ("atari", "image") and env_spec.picklable
    return vectorization == "async"


def _start_workers(name: str, functions: list[Callable[[], gymnasium.Env]]) -> AsyncVectorEnv:
    """Return the environments that the functions make, each in a process of its own."""
    try:
        with main_module_hidden(), _hangup_blocked():
            return AsyncVectorEnv(functions, autoreset_mode=AutoresetMode.NEXT_STEP, context="forkserver")
    except (EnvError, EnvFault):
        raise
    except Exception as error:  # pickle raises many kinds of exceptions
        raise EnvError(
            f"{name} cannot run in processes of its own: {describe(error)}; use vectorization sync"
        ) from error


@contextmanager
def _hangup_blocked() -> Iterator[None]:
    """Block SIGHUP in the processes that are started inside a `with` block; they inherit this.

    Besides the workers these are the helpers of multiprocessing. A lost terminal would end them, and their messages
    would hide those of the main process.
    """
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def trainable_ids() -> list[str]:
    """Return the Gymnasium ids that agents can be trained on: newest versions only, without Atari games."""
    # Id of the newest version, by namespace and name. The registry lists older versions first.
    newest: dict[tuple[str | None, str], str] = {}
    for env_id, spec in gymnasium.registry.items():
        if not str(spec.entry_point).startswith("ale_py"):
            newest[spec.namespace, spec.name] = env_id
    return sorted(env_id for env_id in newest.values() if _is_trainable(env_id))


def _is_trainable(env_id: str) -> bool:
    """Return True if the environment can be created and agents support its spaces."""
    try:
        EnvRecipe(find_gymnasium_spec(env_id), DEFAULT_OPTIONS).make().close()
    except Exception:  # the spaces of other packages may raise any exception
        return False
    return True


def find_game_of_id(env_id: str) -> str | None:
    """Return the name of the Atari game in an id such as Pong-v4 or ALE/Pong-v5, or None for other ids."""
    match = re.fullmatch(r"(?:ALE/)?(\w+?)-v\d", env_id)
    return find_game(match[1]) if match else None


_show_warnings = False  # see `_warnings_shown`


@contextmanager
def _warnings_shown() -> Iterator[None]:
    """Let Gymnasium warn while environments are made inside a `with` block, for example of an old version.

    Outside of such a block its warnings are left out, because a run makes an environment many times.
    """
    global _show_warnings
    _show_warnings = True
    try:
        yield
    finally:
        _show_warnings = False


def _make_unwrapped(spec: GymnasiumSpec, env_args: dict[str, Any], render_mode: str | None) -> gymnasium.Env:
    """Return the environment as Gymnasium makes it. Raises EnvError whatever its constructor raises."""
    level = gymnasium.logger.min_level
    if not _show_warnings:
        gymnasium.logger.min_level = gymnasium.logger.ERROR
    try:
        # `GuardedEnv` checks more than Gymnasium's checker.
        env = gymnasium.make(spec, disable_env_checker=True, **env_args)
        if render_mode is None:
            return env
        # The environment is created without a render mode first, to read the modes that it supports. The constructor of
        # an environment without rendering may not accept the argument `render_mode`.
        if render_mode not in env.metadata.get("render_modes", ()):
            raise EnvError(f"{spec.id} cannot be watched: it has no render mode {render_mode!r}")
        if env.render_mode == render_mode:
            return env
        env.close()
        return gymnasium.make(spec, disable_env_checker=True, **env_args, render_mode=render_mode)
    except EnvError:
        raise
    except (gymnasium.error.Error, ImportError) as error:
        advice = install_advice(error)
        problem = f"a package is missing{advice}" if advice else one_line(error)
        raise EnvError(f"{spec.id} cannot be made: {problem}") from error
    except (Exception, SystemExit) as error:
        raise EnvError(f"{spec.id} cannot be made: {describe(error)}{_advice(error)}") from error
    finally:
        gymnasium.logger.min_level = level


def _advice(error: BaseException) -> str:
    """Return how to give a constructor the arguments that it lacks, or an empty text for other errors."""
    if not isinstance(error, TypeError) or not re.search(r"missing \d+ required", str(error)):
        return ""
    names = re.findall(r"'(\w+)'", str(error))
    return f"; give them by {' '.join(f'--env-arg {name}=VALUE' for name in names)}"


def _wrap(env: gymnasium.Env, wrapper: WrapperSpec) -> gymnasium.Env:
    """Return the environment inside a wrapper. Raises EnvError whatever the wrapper's module or constructor raises."""
    module, _, class_name = wrapper.name.partition(":")
    try:
        cls = getattr(importlib.import_module(module), class_name)
        wrapped = cls(env, **wrapper.args)
    except (Exception, SystemExit) as error:
        raise EnvError(f"the wrapper {wrapper} cannot be used: {describe(error)}") from error
    if not isinstance(wrapped, gymnasium.Env):
        raise EnvError(f"the wrapper {wrapper} returned a {type(wrapped).__name__}; it must return an environment")
    return wrapped


def _find_mask_source(env_id: str, env: GuardedEnv, options: EnvOptions) -> MaskSource:
    """Return where an environment has its action masks. Raises EnvError if agents cannot use them, EnvFault."""
    if not options.action_masks:
        return ""
    _, info = env.reset(seed=0)
    source = mask_source(env, info)
    if options.pixels and not source:
        inner_space = env.unwrapped.observation_space
        if isinstance(inner_space, Dict) and MASK_KEY in inner_space.spaces:
            raise EnvError(
                f"{env_id} has action masks in its observations, which view pixels replaces (--no-action-masks ignores"
                " them)"
            )
    if source and not isinstance(env.action_space, Discrete):
        raise EnvError(
            f"{env_id} has masks for actions of {env.action_space}; agents use masks of Discrete actions only"
            " (--no-action-masks ignores them)"
        )
    return source


def _is_picklable(recipe: EnvRecipe) -> bool:
    """Return True if another process can make the environment."""
    try:
        # Loading the bytes in this process would replace the methods of the user's classes by copies.
        cloudpickle.dumps(recipe)
    except Exception:  # the objects in the recipe are the user's
        return False
    return True


def _spec(env_id: str, env: GuardedEnv, recipe: EnvRecipe) -> EnvSpec:
    """Return the spec of an environment."""
    layout = recipe.layout(env)
    gymnasium_spec = env.unwrapped.spec or recipe.gymnasium_spec  # a wrapper may be an environment without a spec
    game = find_game_of_id(env_id) if hasattr(env.unwrapped, "ale") else None
    kwargs = gymnasium_spec.kwargs if game else {}
    frame_skip = kwargs.get("frameskip", 1)
    return EnvSpec(
        name=game or env_id,
        id=env_id,
        family=_family(game, layout),
        backend="gymnasium",
        protocol="id",
        frame=layout.frame,
        dtype=layout.dtype,
        actions=_action_names(env),
        frame_skip=frame_skip if isinstance(frame_skip, int) else None,
        sticky=gymnasium_spec.kwargs.get("repeat_action_probability", 0.0) if game else 0.0,
        max_frames=kwargs.get("max_num_frames_per_episode"),
        view="pixels" if recipe.options.pixels else "grey",
        one_hot=bool(layout.state_sizes),
        bounds=layout.bounds,
        obs_kind=layout.kind,
        packed=layout.packed,
        state_sizes=layout.state_sizes,
        action_parts=action_parts(env.action_space),
        action_bounds=action_bounds(env.action_space),
        mask_source=recipe.mask_source,
        options=recipe.options,
        transformations=_transformations(layout, recipe.options, env),
    )


def _transformations(layout: ObservationLayout, options: EnvOptions, env: gymnasium.Env) -> tuple[str, ...]:
    """Return in words how observations and episodes are changed before agents receive them."""
    texts = layout.transformations
    if options.pixels:
        crop = f", part {options.crop}" if options.crop else ""
        texts = (f"rendered picture{crop}", *texts)
    if _needs_time_limit(env, layout):
        texts = (*texts, f"episodes cut after {DISCRETE_STATE_MAX_STEPS:,} steps")
    return texts


def _family(game: str | None, layout: ObservationLayout) -> Literal["atari", "image", "planes", "vector"]:
    """Return the family of an environment, which is the name of a section in the agents' configuration files."""
    if game:
        return "atari"
    return layout.parts[-1].meaning


def _action_names(env: GuardedEnv) -> tuple[str, ...]:
    """Return the names of the actions, or their numbers as text if the environment has no fitting names for them.

    Names are labels. They fit if there is one name for each action, and no wrapper changes the actions. For a
    MultiDiscrete action, the actions of each part follow one another, with the number of the part: "0.2". For a
    continuous action, they are the numbers of its entries.
    """
    space = env.action_space
    parts = action_parts(space)
    if parts:
        return tuple(f"{part}.{i}" for part, size in enumerate(parts) for i in range(size))
    if isinstance(space, Box):
        return tuple(str(i) for i in range(int(np.prod(space.shape))))
    assert isinstance(space, Discrete)
    num_actions = int(space.n)
    numbers = tuple(str(i) for i in range(num_actions))
    if _changes_actions(env):
        return numbers
    for find_names in (_meanings, _enum_names, _button_names):
        try:
            names = tuple(str(name) for name in find_names(env.unwrapped))
        except Exception:  # the attributes are the user's, and names are only labels
            continue
        if len(names) == num_actions and len(set(names)) == num_actions:
            return names
    return numbers


def _meanings(env: Any) -> Any:
    """Return the names from the method `get_action_meanings`, which Atari environments have."""
    return env.get_action_meanings()


def _enum_names(env: Any) -> list[str]:
    """Return the names of MiniGrid's environments: their attribute `actions` is an enumeration 0, 1, 2, ..."""
    actions = env.actions
    if not (isinstance(actions, type) and issubclass(actions, enum.Enum)):
        return []
    if [action.value for action in actions] != list(range(len(actions))):
        return []
    return [action.name for action in actions]


def _button_names(env: Any) -> list[str]:
    """Return the names of VizDoom's environments: a map from actions to pressed buttons."""
    names = [button.name for button in env.game.get_available_buttons()]
    button_map = getattr(env, "button_map", None)
    if button_map is None:
        return names
    return [_pressed_buttons(names, pressed) for pressed in button_map]


def _pressed_buttons(names: list[str], pressed: Any) -> str:
    """Return the names of the pressed buttons, joined by "+"."""
    return "+".join(name for name, is_pressed in zip(names, pressed, strict=False) if is_pressed) or "NOOP"


def _changes_actions(env: gymnasium.Env) -> bool:
    """Return True if a wrapper may give the actions another meaning."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.ActionWrapper) or env.action_space != env.env.action_space:
            return True
        env = env.env
    return False
