"""A comparison in Weights & Biases (W&B): a run with the statistics, a saved view of the project, and a report."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rl_lab.compare.comparison import Comparison, GroupSummary, RunGroup
from rl_lab.errors import Fault, LabError
from rl_lab.system.printable import printable
from rl_lab.tracking.metric_names import STEP_METRIC
from rl_lab.tracking.wandb_sink import read_wandb_id

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run as WandbRun
    from wandb_workspaces.reports.v2 import LinePlot

COLUMNS = (  # fields of GroupSummary in the published table
    "agent",
    "env",
    "seeds",
    "final",
    "best",
    "normalised",
    "optimum",
    "regret",
    "target",
    "reached",
    "steps_to_target",
    "minutes_to_target",
)


def publish(comparison: Comparison, page: Path | None) -> list[str]:
    """Publish a comparison in the W&B project of its runs.

    Creates a run of job_type "compare", a saved view and a report. The run holds the table, the HTML page, and for each
    group the interquartile mean of the final values with its interval.

    Args:
        comparison: The comparison.
        page: The HTML page, or None.

    Returns:
        Three lines: the kind of the object and its address.

    Raises:
        LabError: The runs belong to several projects, or W&B does not have all of them.
        Fault: W&B failed.
    """
    project = _project_of(comparison)
    ids = [_wandb_ids(group) for group in comparison.groups]
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        _check_uploaded(comparison, ids, project)
        return _create(comparison, ids, project, page)
    except LabError:
        raise
    except Exception as error:  # W&B raises many types for problems of the network, the server and the account
        raise Fault(f"W&B did not accept the comparison: {error}") from error


def _project_of(comparison: Comparison) -> str:
    """Return the W&B project of all runs."""
    projects = {result.config.run.wandb_project for group in comparison.groups for result in group.results}
    if len(projects) > 1:
        listing = ", ".join(sorted(projects))
        raise LabError(f"the runs belong to several W&B projects, {listing}; compare runs of one project")
    return projects.pop()


def _wandb_ids(group: RunGroup) -> list[str]:
    """Return the W&B ids of the runs of a group. Runs that were never logged to W&B have no id."""
    ids = [read_wandb_id(result.run) for result in group.results]
    return [run_id for run_id in ids if run_id is not None]


def _all(ids: Sequence[Sequence[str]]) -> list[str]:
    return [name for names in ids for name in names]


def _check_uploaded(comparison: Comparison, ids: list[list[str]], project: str) -> None:
    """Raise LabError if the server does not have all runs."""
    import wandb

    names = _all(ids)
    num_uploaded = len(wandb.Api(timeout=20).runs(project, filters={"name": {"$in": names}})) if names else 0
    num_missing = sum(len(group.results) for group in comparison.groups) - num_uploaded
    if num_missing:
        raise LabError(f"{num_missing} of the runs are not in the W&B project {project}; `sync` uploads them")


def _create(comparison: Comparison, ids: list[list[str]], project: str, page: Path | None) -> list[str]:
    """Create the run, the view and the report. Return their addresses."""
    import wandb

    settings = wandb.Settings(
        console="off", silent=True, init_timeout=20, finish_timeout=60, finish_timeout_raises=True
    )
    config = {
        "runs": _all(ids),
        "metric": comparison.metric,
        "targets": {group.env_spec.name: group.target for group in comparison.groups},
    }
    with (
        TemporaryDirectory() as scratch,
        wandb.init(
            dir=scratch, project=project, job_type="compare", name="comparison", config=config, settings=settings
        ) as run,
    ):
        _log_statistics(run, comparison, page)
        entity = run.entity
        project = run.project
        addresses = [f"run     {run.url}"]
    addresses.append(f"view    {_save_view(comparison, ids, entity, project)}")
    addresses.append(f"report  {_save_report(comparison, ids, entity, project)}")
    return addresses


def _log_statistics(run: WandbRun, comparison: Comparison, page: Path | None) -> None:
    """Log the table, the page, and the final values with their intervals."""
    import wandb

    summaries = [group.summary() for group in comparison.groups]
    table = wandb.Table(columns=list(COLUMNS))
    for row in _table_rows(summaries):
        table.add_data(*row)
    run.log({"table": table})
    if page:
        run.log({"page": wandb.Html(page.read_text(encoding="utf-8"), inject=False)})
    numbers: dict[str, float] = {}
    for summary in summaries:
        name = printable(f"{summary.env}/{summary.agent}")
        numbers[f"{name}/iqm"] = summary.final.value
        numbers[f"{name}/low"] = summary.final.low
        numbers[f"{name}/high"] = summary.final.high
    run.summary.update(numbers)


def _table_rows(summaries: Sequence[GroupSummary]) -> list[list[str]]:
    """Return the cells of the published table."""
    return [[_cell(getattr(summary, column)) for column in COLUMNS] for summary in summaries]


def _cell(value: object) -> str:
    return "" if value is None else printable(value)


def _line_plot(comparison: Comparison, env: str) -> LinePlot:
    """Return a W&B panel with the mean and the standard error of the metric."""
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(
        title=printable(f"{comparison.metric} on {env}"),
        x=STEP_METRIC,
        y=[comparison.metric],
        groupby_aggfunc="mean",
        groupby_rangefunc="stderr",
    )


def _save_view(comparison: Comparison, ids: list[list[str]], entity: str, project: str) -> str:
    """Save a view with one section per environment, its runs grouped as in the comparison. Return its address."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.expr import Config, Metric

    labels = dict.fromkeys(group.label for group in comparison.groups)
    group_keys = ["agent", "env", *comparison.differing_settings()]
    sections = [
        ws.Section(name=printable(env), panels=[_line_plot(comparison, env)], is_open=True) for env in comparison.envs
    ]
    view = ws.Workspace(
        entity=entity,
        project=project,
        name=printable("Comparison of " + ", ".join(labels)),
        sections=sections,
        runset_settings=ws.RunsetSettings(
            filters=[Metric("ID").isin(_all(ids))], groupby=[Config(key) for key in group_keys]
        ),
    ).save()
    return view.url


def _save_report(comparison: Comparison, ids: list[list[str]], entity: str, project: str) -> str:
    """Save a report with the table, and for each environment a plot with one run set per group. Return its address."""
    import wandb_workspaces.reports.v2 as wr
    from wandb_workspaces.expr import Metric

    blocks: list[Any] = [
        wr.MarkdownBlock(
            text="Scores are interquartile means over seeds with 95% bootstrap intervals (Agarwal et al. 2021)."
        ),
        wr.MarkdownBlock(text=_markdown_table(comparison)),
    ]
    for env in comparison.envs:
        runsets = [
            wr.Runset(
                entity=entity,
                project=project,
                name=printable(group.label),
                filters=[Metric("ID").isin(names)],
                groupby=["config.agent"],
            )
            for group, names in zip(comparison.groups, ids, strict=True)
            if group.env_spec.name == env
        ]
        blocks += [wr.H2(text=printable(env)), wr.PanelGrid(runsets=runsets, panels=[_line_plot(comparison, env)])]
    report = wr.Report(
        entity=entity, project=project, title=printable(f"Comparison on {', '.join(comparison.envs)}"), blocks=blocks
    )
    report.save()
    return report.url


def _markdown_table(comparison: Comparison) -> str:
    rows = [list(COLUMNS), ["-"] * len(COLUMNS)]
    table = _table_rows([group.summary() for group in comparison.groups])
    rows += [list(map(escape_markdown, cells)) for cells in table]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def escape_markdown(text: str) -> str:
    """Return a printable text with a backslash before each character that Markdown or HTML would interpret."""
    return re.sub(r"([\\`*_{}\[\]<>&|#~$!])", r"\\\1", text)
