"""The comparison of runs in Python: a table of pandas and a figure of Matplotlib, which a notebook shows."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_lab.compare.comparison import Comparison, GroupSummary, RunGroup
from rl_lab.compare.statistics import Estimate
from rl_lab.errors import LabError
from rl_lab.system.optional_packages import import_optional
from rl_lab.tracking.metric_names import XAxis

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

X_LABELS: dict[XAxis, str] = {"steps": "agent steps", "frames": "emulator frames", "minutes": "minutes of training"}
PANEL_INCHES = (6.0, 3.6)  # width and height of the panel of one environment


@dataclass(frozen=True)
class RunComparison:
    """Agents that are compared over seeds. As the last value of a notebook's cell, table and figure are shown there."""

    comparison: Comparison
    """The groups of runs."""
    x: XAxis
    """X-axis of the figure."""
    warnings: list[str]
    """Limits of the comparison, such as runs of different length. One line each."""
    left_out: list[str]
    """Why runs were left out, one line each."""

    @cached_property
    def table(self) -> pandas.DataFrame:
        """Return one row for each agent and environment.

        Columns: agent, env, seeds (their number), final and best (interquartile means over seeds), each with the ends
        of its 95% interval (`final_low`, `final_high`), normalised, target, reached, steps_to_target,
        minutes_to_target, steps_per_s, optimum and regret, as the command `compare` explains them.

        Raises:
            LabError: pandas is not installed.
        """
        pandas = import_optional("pandas", "the table of a comparison")
        return pandas.DataFrame([_table_row(group.summary()) for group in self.comparison.groups])

    @cached_property
    def figure(self) -> Figure:
        """Return the learning curves: one panel for each environment, with bands of 95% intervals over seeds.

        As the last value of a notebook's cell, the figure is shown there, also if the notebook has not imported pyplot.

        Raises:
            LabError: Matplotlib is not installed.
        """
        figures = import_optional("matplotlib.figure", "the figure of a comparison")
        envs = self.comparison.envs
        width, height = PANEL_INCHES
        figure: Figure = _shown_in_notebooks(figures.Figure)(figsize=(width, height * len(envs)), layout="constrained")
        panels: Any = figure.subplots(len(envs), squeeze=False)
        colours = {agent: f"C{i % 10}" for i, agent in enumerate(self._labels())}
        for env, axes in zip(envs, panels[:, 0], strict=True):
            for group in self.comparison.groups_on(env):
                self._draw(axes, group, colours[group.label])
            axes.set_title(env)
            axes.set_xlabel(X_LABELS[self.x])
            axes.set_ylabel(self.comparison.metric)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18))  # below the axes, on no curve
        return figure

    def _labels(self) -> list[str]:
        """Return the labels of the groups, each once."""
        return list(dict.fromkeys(group.label for group in self.comparison.groups))

    def _draw(self, axes: Axes, group: RunGroup, colour: str) -> None:
        """Draw the curve of a group, and its band if it has several seeds."""
        curve = group.curve(self.x)
        seeds = len(group.results)
        axes.plot(curve.x, curve.y, color=colour, label=f"{group.label} ({seeds} seed{'s' * (seeds > 1)})")
        if np.isfinite(curve.low).any():
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)

    def _repr_html_(self) -> str:
        """Return the table and the figure as HTML. A package that is missing leaves its part out, with one line."""
        parts = [f"<p>{_escaped(line)}</p>" for line in [*self.warnings, *self.left_out]]
        try:
            parts.append(self.table.to_html(index=False, float_format="{:,.2f}".format, na_rep=""))
            picture = base64.b64encode(_png(self.figure)).decode()
            parts.append(f'<img src="data:image/png;base64,{picture}" alt="learning curves">')
        except LabError as error:
            parts.append(f"<p>{_escaped(str(error))}</p>")
        return "\n".join(parts)


def _shown_in_notebooks(figure_class: Any) -> Any:
    """Return a subclass of Matplotlib's Figure that IPython shows as a picture."""

    class NotebookFigure(figure_class):
        def _repr_png_(self) -> bytes:
            return _png(self)

    return NotebookFigure


def _png(figure: Any) -> bytes:
    """Return a Matplotlib figure as PNG."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def _table_row(summary: GroupSummary) -> dict[str, Any]:
    """Return a row of the table."""
    row: dict[str, Any] = {"agent": summary.agent, "env": summary.env, "seeds": len(summary.seeds)}
    row |= _interval("final", summary.final) | _interval("best", summary.best)
    row["normalised"] = _value(summary.normalised)
    row["target"] = summary.target
    row["reached"] = summary.reached
    row["steps_to_target"] = summary.steps_to_target
    row["minutes_to_target"] = summary.minutes_to_target
    row["steps_per_s"] = summary.steps_per_s
    row["optimum"] = summary.optimum
    row["regret"] = _value(summary.regret)
    return row


def _interval(name: str, estimate: Estimate) -> dict[str, float]:
    """Return an estimate and the ends of its interval as three columns."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _escaped(text: str) -> str:
    """Return a text for HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
