"""A comparison in Weights & Biases: a run that holds its statistics, a saved view of the project, and a report."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rl_lab.compare.comparison import Comparison, Group
from rl_lab.errors import Fault, LabError
from rl_lab.tracking.tracker import AXIS


def publish(comparison: Comparison, page: Path | None) -> list[str]:
    """Make them in the project that the runs were logged to; their addresses, each with what it is.

    The run, of job_type "compare", has for each agent and environment the interquartile mean of the final scores with its
    interval, and the page. Raises LabError where runs are missing there, Fault where W&B does not do it.
    """
    projects = {r.config.run.wandb_project for g in comparison.groups for r in g.results}
    if len(projects) > 1:
        raise LabError(f"the runs were logged to several projects, {', '.join(sorted(projects))}; compare those of one")
    project = projects.pop()
    ids = [_ids(group) for group in comparison.groups]
    runs = [name for names in ids for name in names]
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    settings = wandb.Settings(
        console="off", silent=True, init_timeout=20, finish_timeout=60, finish_timeout_raises=True
    )
    try:
        arrived = len(wandb.Api(timeout=20).runs(project, filters={"name": {"$in": runs}})) if runs else 0
        if missing := sum(len(g.results) for g in comparison.groups) - arrived:
            raise LabError(f"{missing} of the runs are not in W&B's project {project}; `sync` brings them there")
        with (
            TemporaryDirectory() as scratch,
            wandb.init(
                dir=scratch,
                project=project,
                job_type="compare",
                name="comparison",
                config={
                    "runs": runs,
                    "metric": comparison.metric,
                    "targets": {group.env_spec.name: group.target for group in comparison.groups},
                },
                settings=settings,
            ) as run,
        ):
            run.log({"table": _table(comparison)})
            if page:
                run.log({"page": wandb.Html(page.read_text(), inject=False)})
            run.summary.update(_numbers(comparison))
            where = (run.entity, run.project)
            addresses = [f"run     {run.url}"]
        addresses.append(f"view    {_view(comparison, ids, *where)}")
        addresses.append(f"report  {_report(comparison, ids, *where)}")
    except LabError:
        raise
    except Exception as error:  # the network, the server, the account
        raise Fault(f"W&B did not take the comparison: {error}") from error
    return addresses


def _ids(group: Group) -> list[str]:
    """The ids under which the group's runs were logged to W&B."""
    files = [r.run.path / "wandb" / "id" for r in group.results]
    return [file.read_text().strip() for file in files if file.is_file()]


def _numbers(comparison: Comparison) -> dict[str, float]:
    found = {}
    for group in comparison.groups:
        final, name = group.row()["final"], f"{group.env_spec.name}/{group.label}"
        found |= {f"{name}/iqm": final.value, f"{name}/low": final.low, f"{name}/high": final.high}
    return found


HEADS = (
    "agent",
    "env",
    "seeds",
    "final",
    "best",
    "normalised",
    "target",
    "reached",
    "steps_to_target",
    "minutes_to_target",
)


def _rows(comparison: Comparison) -> list[Any]:
    rows = [group.row() for group in comparison.groups]
    return [["" if row[k] is None else str(row[k]) for k in HEADS] for row in rows]


def _table(comparison: Comparison) -> Any:
    import wandb

    return wandb.Table(columns=list(HEADS), data=_rows(comparison))


def _curves(comparison: Comparison, env: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(
        title=f"{comparison.metric} on {env}",
        x=AXIS,
        y=[comparison.metric],
        groupby_aggfunc="mean",
        groupby_rangefunc="stderr",
    )


def _view(comparison: Comparison, ids: list[list[str]], entity: str, project: str) -> str:
    """A saved view with a section for each environment, its runs grouped as the comparison's; its address."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.expr import Config, Metric

    chosen = [Metric("ID").isin([name for names in ids for name in names])]
    view = ws.Workspace(
        entity=entity,
        project=project,
        name="Comparison of " + ", ".join(dict.fromkeys(g.label for g in comparison.groups)),
        sections=[ws.Section(name=env, panels=[_curves(comparison, env)], is_open=True) for env in comparison.envs],
        runset_settings=ws.RunsetSettings(
            filters=chosen, groupby=[Config(key) for key in ("agent", "env", *comparison.differences())]
        ),
    ).save()
    return view.url


def _report(comparison: Comparison, ids: list[list[str]], entity: str, project: str) -> str:
    """A report with curves for each environment, one run set a group, and the table; its address."""
    import wandb_workspaces.reports.v2 as wr
    from wandb_workspaces.expr import Metric

    blocks: list[Any] = []
    for env in comparison.envs:
        sets = [
            wr.Runset(
                entity=entity,
                project=project,
                name=g.label,
                filters=[Metric("ID").isin(names)],
                groupby=["config.agent"],
            )
            for g, names in zip(comparison.groups, ids, strict=True)
            if g.env_spec.name == env
        ]
        blocks += [wr.H2(text=env), wr.PanelGrid(runsets=sets, panels=[_curves(comparison, env)])]
    lines = [HEADS, ["-"] * len(HEADS), *_rows(comparison)]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    note = "Scores are interquartile means over seeds with 95% bootstrap intervals (Agarwal et al. 2021)."
    report = wr.Report(
        entity=entity,
        project=project,
        title=f"Comparison on {', '.join(comparison.envs)}",
        blocks=[wr.MarkdownBlock(text=note), wr.MarkdownBlock(text=table), *blocks],
    )
    report.save()
    return report.url
