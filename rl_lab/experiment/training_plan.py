"""The plan of a training run: all that is decided and checked before the run folder exists."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from agents.configs.shared import NetworkConfig
from agents.core.agent import Abilities, Agent, MeasurableUpdates
from agents.core.memory_needs import MemoryNeed
from agents.core.types import EnvSpaces
from envs import make
from envs.gymnasium_envs import uses_processes
from envs.registration import PYTHON_NAMESPACE
from envs.spec import AtariProtocol, EnvSpec
from rl_lab.errors import LabError
from rl_lab.experiment.config import Config
from rl_lab.experiment.factory import agent_needs, env_spaces
from rl_lab.experiment.registry import AgentClass, agents, find_agent
from rl_lab.system.cores import share_of_cores
from rl_lab.system.device import resolve_device
from rl_lab.system.disk import check_disk
from rl_lab.system.memory_budget import check_memory, keep_freed_memory
from rl_lab.system.optional_packages import RAY_PACKAGES, require_packages
from rl_lab.system.precision import resolve_precision
from rl_lab.system.update_speed import UpdateSpeed, choose, measure_updates, torch_threads
from rl_lab.tracking.tensorboard_sink import check_tensorboard
from rl_lab.tracking.trackio_sink import import_trackio

# Measured with Python 3.11 on Linux: RSS of the process per environment, or PSS of a worker process.
EMULATOR_BYTES = 1_100_000  # Pong
PROCESS_BYTES = 24_000_000  # CartPole
ENV_BYTES = 1_300  # MountainCar


class ComputePlan(NamedTuple):
    """Precision and number of threads with which PyTorch computes."""

    dtype: torch.dtype  # of the encoder of images
    threads: int
    measured: tuple[UpdateSpeed, ...] = ()  # empty if nothing was measured, because the settings leave no choice


@dataclass(frozen=True)
class TrainingPlan:
    """Everything about a training run that does not change while it runs."""

    config: Config
    """The configuration, with every "auto" replaced by its value on this machine."""
    env_spec: EnvSpec
    device: torch.device
    compute: ComputePlan
    """Precision and threads of PyTorch."""
    agent_class: AgentClass
    spaces: EnvSpaces
    replay_bytes: int
    """Bytes that the agent's memory (replay or rollout) takes on the device."""
    checkpoint_bytes: int
    """Bytes of a checkpoint: 0 if the agent is not resumable, because its memory is not saved."""

    def check_disk(self) -> None:
        """Raise LabError if a checkpoint does not fit on the disk of the run folders."""
        check_disk(Path(self.config.run.runs_dir), self.checkpoint_bytes)

    def make_agent(self) -> Agent:
        """Return the untrained agent, and seed the generators that training uses besides the agent's own."""
        keep_freed_memory()
        torch.manual_seed(self.config.run.seed)  # dropout draws from PyTorch's global generator
        return self.agent_class(
            self.config.settings, self.spaces, seed=self.config.run.seed, device=self.device, dtype=self.compute.dtype
        )


def plan_training(config: Config, env_spec: EnvSpec) -> TrainingPlan:
    """Return the plan of a run.

    Raises:
        LabError: The device or a package is not available, or the agent or the environments do not fit into free
            memory.
    """
    if config.run.tensorboard:
        check_tensorboard()
    if config.run.trackio:
        import_trackio()
    if config.run.collectors:
        require_packages(RAY_PACKAGES, "--collectors")
    entry = find_agent(config.agent)
    agent_class = entry.load()
    spaces = env_spaces(env_spec, config.run.num_envs)
    _check_abilities(config, env_spec, entry.abilities)
    device = resolve_device(config.run.device)
    computes_in_bfloat16 = entry.abilities.bfloat16 and spaces.is_image
    needs = agent_needs(agent_class, config.settings, spaces)
    _check_memory(needs, _env_needs(config, env_spec), device)  # before an update is measured, which needs memory too
    compute = _resolve_compute(config, spaces, device, computes_in_bfloat16)
    run = dataclasses.replace(
        config.run,
        device=device.type,
        precision=str(compute.dtype).removeprefix("torch."),
        torch_threads=compute.threads,
        protocol=_protocol_setting(config, env_spec),
    )
    return TrainingPlan(
        config=dataclasses.replace(config, run=run),
        env_spec=dataclasses.replace(env_spec, frame_stack=getattr(config.settings, "frame_stack", 1)),
        device=device,
        compute=compute,
        agent_class=agent_class,
        spaces=spaces,
        replay_bytes=agent_class.bytes_needed(config.settings, spaces),
        checkpoint_bytes=sum(need.saved_bytes for need in needs) if entry.abilities.resumable else 0,
    )


def _resolve_compute(
    config: Config, spaces: EnvSpaces, device: torch.device, computes_in_bfloat16: bool
) -> ComputePlan:
    """Return the precision and the threads, which are measured where the settings leave a choice."""
    run = config.run
    precision = run.precision if computes_in_bfloat16 else "float32"
    threads = range(1, _max_threads(config) + 1)
    if run.torch_threads:
        threads = [run.torch_threads]
    if device.type != "cpu":
        return ComputePlan(resolve_precision(precision, device), threads[-1])
    dtypes = [torch.float32, torch.bfloat16] if precision == "auto" else [resolve_precision(precision, device)]
    if len(dtypes) * len(threads) == 1:
        return ComputePlan(dtypes[0], threads[0])
    agent_class = find_agent(config.agent).load()
    if not isinstance(agent_class, MeasurableUpdates):
        return ComputePlan(resolve_precision(precision, device), threads[-1])
    settings = config.settings
    if isinstance(settings, NetworkConfig):
        settings = dataclasses.replace(settings, init="torch")  # orthogonal weights take longer than the measurement
    with torch_threads(1):  # with more threads, busy processes would delay the initial weights by seconds
        updates = {dtype: agent_class.example_update(settings, spaces, device=device, dtype=dtype) for dtype in dtypes}
    speeds = measure_updates(updates, threads)
    chosen = choose(speeds)
    return ComputePlan(chosen.dtype, chosen.threads, tuple(speeds))


def _max_threads(config: Config) -> int:
    """Return the largest number of threads that this process may use. Collectors on this machine need a core each."""
    local_collectors = 0 if config.run.address else config.run.collectors
    return min(torch.get_num_threads(), share_of_cores(reserved=local_collectors))


def _check_abilities(config: Config, env_spec: EnvSpec, abilities: Abilities) -> None:
    """Raise LabError if the agent, or other processes, cannot use the environment."""
    _check_action_kind(config.agent, env_spec, abilities)
    if env_spec.packed is not None and not abilities.packed_observations:
        problem = "action masks; --no-action-masks ignores them"
        if not env_spec.mask_source:
            problem = "images or planes beside vectors; --obs-key chooses one of them"
        raise LabError(f"{config.agent} cannot use {env_spec.name}, which has {problem}")
    if config.run.collectors and not abilities.collectors:
        fitting = [entry.name for entry in agents().values() if entry.abilities.collectors]
        raise LabError(
            f"collectors is {config.run.collectors}; {config.agent} learns from its own rows only; agents with"
            f" collectors: {', '.join(fitting)}"
        )
    if config.run.collectors and env_spec.id.startswith(f"{PYTHON_NAMESPACE}/"):
        raise LabError(
            f"{env_spec.name} was given as a Python object, which collectors cannot make: leave out collectors"
        )


def _check_action_kind(agent: str, env_spec: EnvSpec, abilities: Abilities) -> None:
    """Raise LabError, with the agents that would fit, if the agent does not choose actions of this kind."""
    kind = "continuous_actions" if env_spec.is_continuous else "discrete_actions"
    if getattr(abilities, kind):
        return
    fitting = [entry.name for entry in agents().values() if getattr(entry.abilities, kind)]
    raise LabError(
        f"{agent} cannot use {env_spec.name}, which has {kind.replace('_', ' ')}; agents for it: {', '.join(fitting)}"
    )


def _check_memory(agent_needs: list[MemoryNeed], env_needs: MemoryNeed, device: torch.device) -> None:
    """Raise LabError if the agent or the environments do not fit into free memory."""
    if device.type == "cpu":
        check_memory([*agent_needs, env_needs], device)
        return
    check_memory(agent_needs, device)
    check_memory([env_needs], torch.device("cpu"))


def _env_needs(config: Config, env_spec: EnvSpec) -> MemoryNeed:
    """Return a lower estimate of the memory of the environments, without what the environments themselves store."""
    num_envs = config.run.num_envs
    vectorization = config.run.vectorization
    if env_spec.backend == "ale":
        return MemoryNeed("the emulators", num_envs * EMULATOR_BYTES, "lower num_envs")
    if uses_processes(env_spec, vectorization):
        advice = "lower num_envs, or set vectorization to sync"
        return MemoryNeed("the processes of the environments", num_envs * PROCESS_BYTES, advice)
    return MemoryNeed("the environments", num_envs * ENV_BYTES, "lower num_envs")


def _protocol_setting(config: Config, env_spec: EnvSpec) -> AtariProtocol | Literal["auto"]:
    """Return the value of the setting `protocol` from which the environment spec can be resolved again.

    The value is "auto" if the name alone decides. That is so for Gymnasium ids, and for old Gym ids such as
    PongNoFrameskip-v0, whose sticky actions differ from those of every protocol.
    """
    if env_spec.protocol == "id":
        return "auto"
    named = make.resolve(config.run.env, env_spec.protocol)
    if named.sticky != env_spec.sticky:
        return "auto"
    return env_spec.protocol
