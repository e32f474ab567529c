"""Tests of the installation in layers: what the core needs, and what a command says if its extra is missing."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import envs.optional_packages
import rl_lab.system.optional_packages
from rl_lab.cli.main import main
from rl_lab.errors import LabError

ROOT = Path(__file__).parents[3]
EXTRAS = {**rl_lab.system.optional_packages.EXTRAS, **envs.optional_packages.EXTRAS}
TRAIN = ["train", "dqn", "--wandb", "disabled", "--env"]

CASES = {
    "sweep grid": (["ray", "optuna"], ["sweep", "grid", "--agents", "dqn", "--envs", "CartPole-v1"], "ray"),
    "sweep search": (["optuna"], ["sweep", "search", "dqn", "--env", "CartPole-v1"], "ray"),
    "sweep suite": (["ray"], ["sweep", "suite", "classic"], "ray"),
    "sweep status": (["ray"], ["sweep", "status", "runs/sweeps/a"], "ray"),
    "collectors": (["ray"], [*TRAIN, "CartPole-v1", "--collectors", "1"], "ray"),
    "trackio": (["trackio"], [*TRAIN, "CartPole-v1", "--trackio"], "trackio"),
    "tensorboard": (["tensorboard"], [*TRAIN, "CartPole-v1", "--tensorboard"], "tensorboard"),
    "onnx": (["onnx"], ["export", "demo", "--onnx", "--out", "exported"], "onnx"),
    "minari": (["minari"], ["export", "demo", "--minari", "1", "--out", "exported"], "minari"),
    "push": (["huggingface_hub"], ["push", "demo", "--repo", "user/name"], "hub"),
    "pull": (["huggingface_hub"], ["pull", "user/name"], "hub"),
    "box2d": (["Box2D"], [*TRAIN, "LunarLander-v3"], "box2d"),
    "mujoco": (["mujoco"], [*TRAIN, "Hopper-v5"], "mujoco"),
    "minatar": (["minatar"], [*TRAIN, "minatar:MinAtar/Breakout-v1"], "minatar"),
}

CORE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from rl_lab.cli.main import main
train = "train dqn --env CartPole-v1 --steps 300 --learning-starts 100 --eval-episodes 2 --wandb disabled"
for line in (train, "resume latest --steps 400", "eval latest --episodes 2", "watch latest --video play.mp4",
             "compare latest", "list runs"):
    main(line.split())
"""


def without(monkeypatch: pytest.MonkeyPatch, modules: list[str]) -> None:
    """Make modules impossible to import, and forget Gymnasium's modules that have imported them."""
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)
    for name in list(sys.modules):
        if name.startswith(("gymnasium.envs.box2d", "gymnasium.envs.mujoco")):
            monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(("missing", "args", "extra"), CASES.values(), ids=CASES)
def test_a_missing_package_is_one_line_with_the_extra(missing, args, extra, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    without(monkeypatch, missing)
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f': pip install "rl-lab[{extra}]"')
    assert not list(tmp_path.rglob("*")), "a refused command must write nothing"


def test_pictures_of_results_name_their_extra(monkeypatch):
    from rl_lab.suite.results_pictures import _load_pyplot

    without(monkeypatch, ["matplotlib"])
    with pytest.raises(LabError, match=r"--no-pictures.*pip install \"rl-lab\[plots\]\""):
        _load_pyplot()


def requirements_of(extra: str) -> set[str]:
    """Return the names of the packages that an extra installs beside the core, as import names."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    names = set()
    for requirement in declared:
        if own := re.fullmatch(r"rl-lab\[(.+)\]", requirement):
            for other in own[1].split(","):
                names |= requirements_of(other)
            continue
        match = re.match(r"([\w-]+)(?:\[(.+?)\])?", requirement)
        assert match is not None
        names.add(match[1].lower().replace("-", "_"))
        if match[1] == "gymnasium":  # the extra of Gymnasium has the name of the package
            names.add(match[2])
    return names


@pytest.mark.parametrize(("package", "extra"), EXTRAS.items(), ids=EXTRAS)
def test_the_extra_of_a_message_installs_the_package(package, extra):
    assert package.lower() in requirements_of(extra)


def test_all_and_dev_install_every_extra():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in declared.keys() - {"dev", "docs"}:
        assert requirements_of(extra) <= requirements_of("all"), extra
    assert requirements_of("all") | requirements_of("docs") <= requirements_of("dev")


def test_the_core_installs_no_package_of_an_extra():
    core = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[>=<]", requirement)[0].lower().replace("-", "_") for requirement in core}
    assert not names & {package.lower() for package in EXTRAS}
    assert {"torch", "stable_baselines3", "wandb"} <= names


@pytest.mark.slow
def test_the_core_trains_resumes_evaluates_watches_and_compares_without_any_extra(tmp_path):
    missing = sorted({*EXTRAS, "IPython", "playwright", "pytest", "mkdocs", "onnxruntime"})
    done = subprocess.run(
        [sys.executable, "-c", CORE.format(missing=missing)], cwd=tmp_path, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "comparison.html").exists()
    assert (tmp_path / "play.mp4").stat().st_size > 1000
