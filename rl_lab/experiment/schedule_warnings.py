"""Warnings about schedules of an agent that do not fit the length of a run.

The steps of a schedule are settings of their own, so `train AGENT --steps N` changes no schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.configs.dqn import RainbowConfig
from agents.configs.shared import EpsilonGreedyConfig, OptimizerConfig, ReplayConfig
from agents.configs.tabular import TabularConfig
from agents.core.schedules import linear_schedule


@dataclass(frozen=True)
class Schedule:
    """A number that changes linearly, from `start` before agent step `hold` to `end` from agent step `steps` on."""

    name: str
    """The number, such as "lr". The settings of its schedule are NAME_steps and NAME_hold."""
    start: float
    end: float
    steps: int
    hold: int = 0

    def value_at_the_end(self, steps: int) -> str:
        """Return text about the value of the number at agent step `steps`, the end of a run."""
        value = linear_schedule(self.start, self.end, self.steps, steps, hold=self.hold)
        return f"{self.name} ends at {value:.3g} instead of {self.end:g}"

    def flags(self, steps: int) -> str:
        """Return flags with which the schedule ends at agent step `steps`."""
        prefix = f"--{self.name.replace('_', '-')}"
        hold = f"{prefix}-hold 0 " if self.hold >= steps else ""
        return f"{hold}{prefix}-steps {steps}"


def schedule_warnings(settings: Any, steps: int) -> list[str]:
    """Return a warning about schedules that are too long for a run, and one about schedules that are too short.

    - Epsilon is too long if it does not reach epsilon_end: the agent would mostly learn from random actions. Epsilon is
      never too short, because the exploration that a task needs does not grow with the run.
    - The learning rate, and beta of prioritised sampling, are too long if the run ends before half of their schedule,
      and too short if their schedule ends before half of the run.

    Args:
        settings: The settings of an agent.
        steps: Agent steps of the run.
    """
    too_long: list[tuple[str, str]] = []  # what happens, and the flags that help
    too_short: list[tuple[str, str]] = []
    for schedule in _schedules(settings):
        if schedule.name == "epsilon":
            if schedule.steps > steps:
                too_long.append((schedule.value_at_the_end(steps), schedule.flags(_end_of_epsilon(settings, steps))))
        elif schedule.steps > 2 * steps:
            too_long.append((schedule.value_at_the_end(steps), schedule.flags(steps)))
        elif 2 * schedule.steps < steps:
            text = f"{schedule.name} is {schedule.end:g} from agent step {schedule.steps:,} on"
            too_short.append((text, schedule.flags(steps)))
    messages = []
    for adjective, found in (("long", too_long), ("short", too_short)):
        if found:
            texts = ", ".join(text for text, _ in found)
            flags = " ".join(flags for _, flags in found)
            messages.append(f"schedules are too {adjective} for {steps:,} steps: {texts}; {flags} would fit")
    return messages


def _schedules(settings: Any) -> list[Schedule]:
    """Return the schedules of an agent that change a number with which the agent computes."""
    schedules: list[Schedule] = []
    if isinstance(settings, EpsilonGreedyConfig) and not (isinstance(settings, RainbowConfig) and settings.noisy):
        schedules.append(
            Schedule(
                "epsilon",
                settings.epsilon_start,
                settings.epsilon_end,
                settings.epsilon_steps,
                settings.epsilon_hold,
            )
        )
    if isinstance(settings, TabularConfig):
        schedules.append(Schedule("epsilon", settings.epsilon_start, settings.epsilon_end, settings.epsilon_steps))
    if isinstance(settings, OptimizerConfig) and settings.lr_steps:
        schedules.append(Schedule("lr", settings.lr, settings.lr_end, settings.lr_steps, settings.lr_hold))
    if isinstance(settings, ReplayConfig) and settings.priority_alpha:
        schedules.append(Schedule("priority_beta", settings.priority_beta, 1.0, settings.priority_beta_steps))
    return [schedule for schedule in schedules if schedule.start != schedule.end]


def _end_of_epsilon(settings: Any, steps: int) -> int:
    """Return the agent step at which epsilon should reach its end in a short run: half of the steps with learning."""
    learning_starts = settings.learning_starts if isinstance(settings, ReplayConfig) else 0
    return (learning_starts + steps) // 2
