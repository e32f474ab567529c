"""The command `export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from agents.core.settings import CountOrZero, check_fields
from rl_lab.cli.parsing import PlayOptions, parse
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.system.printable import print_line

Flag = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True)
class ExportOptions(PlayOptions):
    """Options of `export`."""

    onnx: Flag = False
    """Write agent.onnx: observation and state in, action and next state out. Needs rl-lab[onnx]."""
    torchscript: Flag = False
    """Write agent.pt, the same as TorchScript."""
    minari: CountOrZero = 0
    """Play this number of episodes and write them as a Minari data set. Needs rl-lab[minari]."""
    csv: Flag = False
    """Write metrics.csv: one row for each agent step, one column for each metric."""
    out: str = ""
    """Folder for the files. By default the folder export/ of the run."""


def export_command(args: list[str]) -> None:
    """Write the files that the options name, and print their paths.

    Raises:
        LabError: No file was asked for, a package is missing, or a file cannot be written.
    """
    options = parse(ExportOptions, args, "export", "Write an agent, its episodes or its metrics for other programs.")
    check_fields(options)
    if not (options.onnx or options.torchscript or options.minari or options.csv):
        raise LabError("nothing to export; add --onnx, --torchscript, --minari N or --csv")
    run = Run.find(options.run, options.runs_dir)
    if run.is_demo and not options.out:
        raise LabError("the demo is part of the package; name a folder with --out")
    folder = Path(options.out) if options.out else run.path / "export"
    if options.csv:
        from rl_lab.tracking.data_frames import write_csv

        write_csv(run.metrics(), folder / "metrics.csv")
        print_line(f"{folder / 'metrics.csv'}")
    if options.onnx or options.torchscript:
        _export_policy(run, folder, options)
    if options.minari:
        _export_episodes(run, folder, options)


def _export_policy(run: Run, folder: Path, options: ExportOptions) -> None:
    """Write the agent as ONNX, as TorchScript, or as both."""
    from rl_lab import api
    from rl_lab.export.onnx_file import write_onnx
    from rl_lab.export.policy_module import PolicyModule, describe
    from rl_lab.export.torchscript_file import write_torchscript

    module = PolicyModule(api.load_agent(run, which=options.which), run.env_spec)
    description = describe(run.config.agent, run.env_spec)
    if options.onnx:
        write_onnx(module, folder / "agent.onnx", description)
        print_line(f"{folder / 'agent.onnx'}")
    if options.torchscript:
        write_torchscript(module, folder / "agent.pt", description)
        print_line(f"{folder / 'agent.pt'}")


def _export_episodes(run: Run, folder: Path, options: ExportOptions) -> None:
    """Write episodes as a Minari data set."""
    from rl_lab import api
    from rl_lab.export.minari_dataset import DATASETS_PATH, write_minari

    trained = api.load(run, which=options.which)
    name = write_minari(run, trained, options.minari, folder / "minari", seed=options.seed)
    print_line(f"{folder / 'minari' / name}; minari.load_dataset({name!r}) with {DATASETS_PATH}={folder / 'minari'}")
