"""Pushing a run to the Hugging Face Hub, and pulling one.

A pulled folder runs no code. Only the files of `REQUIRED` and `OPTIONAL` are downloaded: texts, safetensors, a video.
Names in the configuration may lead to code of this machine: an environment id `module:Id` and a wrapper `module:Class`
import a module, and a wrapper can be any callable with any arguments. So runs with such names are refused, unless the
caller has read them and allows them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from envs.registration import PYTHON_NAMESPACE
from rl_lab import api, checkpoint
from rl_lab.errors import FAULTS, USER_ERRORS, LabError
from rl_lab.experiment.config import Config
from rl_lab.experiment.run import Run
from rl_lab.experiment.run_config import RunConfig
from rl_lab.sharing.model_card import model_card
from rl_lab.system.optional_packages import import_optional
from rl_lab.system.portable_name import portable_name

REQUIRED = ("config.yaml", "env.json", "checkpoints/best/state.json", "checkpoints/best/network.safetensors")
"""Files without which a repository is no run."""

VIDEO = "replay.mp4"
"""Name of the video that the Hub shows on the page of an agent."""

OPTIONAL = ("metrics.jsonl", "README.md", VIDEO)

REPO_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)


def push(run: Run, repo: str, *, which: str | None, episodes: int, video: bool, private: bool) -> str:
    """Push the network of a run, its configuration, its metrics, a video and a model card.

    Paths and addresses of this machine are left out of the configuration.

    Args:
        run: The run.
        repo: Name of the repository, user/name. It is created if it does not exist.
        which: The checkpoint: "best", "last" or an agent step. None is the best one, or else the last one.
        episodes: Episodes of the evaluation whose score the card shows.
        video: Push a video of an episode too.
        private: Create a private repository.

    Returns:
        The address of the repository. If a video was wanted and is not possible, a line says why.

    Raises:
        LabError: The package or a token is missing, the name is wrong, or the Hub refuses the upload.
    """
    _check_name(repo)
    client = make_client("push")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        missing_video = write_shared_folder(run, repo, folder, which=which, episodes=episodes, video=video)
        with _hub_errors(repo):
            address = client.create_repo(repo, private=private, exist_ok=True)
            client.upload_folder(repo_id=repo, folder_path=folder, commit_message=f"{run.config.agent} by rl_lab")
    return f"{address}; no video: {missing_video}" if missing_video else str(address)


def write_shared_folder(
    run: Run, repo: str, folder: Path, *, which: str | None = None, episodes: int = 10, video: bool = True
) -> str:
    """Write the files that `push` uploads into an empty folder. The arguments are those of `push`.

    Returns:
        Why there is no video, or an empty text.
    """
    agent = api.load_agent(run, which=which)
    best = checkpoint.read_state(checkpoint.find(run.path, which))
    checkpoint.save_best(folder, agent, {"steps": best["steps"], "score": best.get("score")})
    config = _without_local_names(run.config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
    (folder / "env.json").write_text(json.dumps(run.env_spec.to_dict(), indent=2) + "\n")
    lines = [{name: value for name, value in line.items() if name != "video"} for line in run.metrics()]
    if lines:
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluation = api.evaluate_agent(run, agent, api.EvaluationOptions(episodes=episodes))
    reason = _write_video(run, folder / VIDEO, which) if video else ""
    has_video = (folder / VIDEO).exists()
    card = model_card(run, repo, evaluation, steps=best["steps"], has_video=has_video)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return reason


def pull(repo: str, runs_dir: str, *, revision: str | None = None, allow_modules: bool = False) -> Run:
    """Download a run that was pushed to the Hub.

    Args:
        repo: Name of the repository, user/name.
        runs_dir: Folder of the run folders, in which the run gets the name user-name.
        revision: Branch, tag or commit. None is the newest commit.
        allow_modules: Accept a run whose environment or wrappers name Python modules of this machine.

    Returns:
        The run folder.

    Raises:
        LabError, ConfigError: The package is missing, the repository does not exist or is no run, the run names Python
            modules, or the folder exists already.
    """
    _check_name(repo)
    client = make_client("pull")
    with tempfile.TemporaryDirectory() as name:
        cache, folder = Path(name) / "cache", Path(name) / "run"
        for file in (*REQUIRED, *OPTIONAL):
            found = _download(client, repo, file, revision, cache)
            if found is not None:
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found, target)
            elif file in REQUIRED:
                raise LabError(f"{repo} is no run of rl_lab: it has no {file}")
        run = Run(folder, shown_path=repo)
        _check_pulled(run, allow_modules=allow_modules)
        config = _without_local_names(run.config)
        run.change(replace(config, run=replace(config.run, runs_dir=runs_dir)))
        return _move(run, repo, runs_dir)


def module_names(run: Run) -> list[str]:
    """Return the names in a run that lead to Python code of this machine: of modules, wrappers and Python objects."""
    env_spec = run.env_spec
    settings = run.config.run
    ids = dict.fromkeys([env_spec.id, settings.env])
    names = [f"the environment {env_id}" for env_id in ids if ":" in env_id or env_id.startswith(PYTHON_NAMESPACE)]
    names += [f"the wrapper {wrapper}" for wrapper in [*env_spec.options.wrappers, *settings.wrappers]]
    return names


def _check_pulled(run: Run, *, allow_modules: bool) -> None:
    """Raise LabError if a downloaded run is damaged, or if it names Python modules that were not allowed."""
    names = module_names(run)
    if names and not allow_modules:
        raise LabError(
            f"{run} names Python code that would run on this machine: {'; '.join(names)};"
            " if you know and have it, pull with --allow-modules"
        )
    run.metrics()
    checkpoint.read_state(checkpoint.find(run.path, "best"))


def _move(run: Run, repo: str, runs_dir: str) -> Run:
    """Move a downloaded run into the folder of its agent and environment. Raise LabError if it exists there."""
    target = Run.folder_of(run.config, run.env_spec) / portable_name(repo)
    if target.exists():
        raise LabError(f"{target} exists already; remove it to pull it again")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(run.path, target)
    except OSError as error:
        raise LabError(f"no run folder can be made in {runs_dir}: {error.strerror}") from error
    return Run(target)


def _download(client: Any, repo: str, file: str, revision: str | None, cache: Path) -> str | None:
    """Return the path of a downloaded file, or None if the repository does not have it."""
    with _hub_errors(repo):
        try:
            return client.hf_hub_download(repo, file, revision=revision, cache_dir=cache)
        except _errors().RemoteEntryNotFoundError:
            return None


def _write_video(run: Run, path: Path, which: str | None) -> str:
    """Write a video of an episode. Return why this is not possible, or an empty text."""
    try:
        api.show(run, which=which, quiet=True, video=str(path))
    except (*USER_ERRORS, *FAULTS) as error:
        return str(error)
    return ""


def _without_local_names(config: Config) -> Config:
    """Return the configuration with defaults for the settings that hold paths and addresses of a machine."""
    defaults = RunConfig()
    run = replace(config.run, runs_dir=defaults.runs_dir, address=defaults.address, init_from=defaults.init_from)
    return replace(config, run=run)


def _check_name(repo: str) -> None:
    """Raise LabError if the name of a repository does not have the form user/name."""
    if not REPO_NAME.fullmatch(repo):
        raise LabError(f"the repository is {repo!r}; it must be user/name")


def make_client(command: str) -> Any:
    """Return the Hub's client, without progress bars. The variable HF_ENDPOINT names a server other than the Hub.

    Raises:
        LabError: The package huggingface_hub is not installed.
    """
    hub = import_optional("huggingface_hub", command)
    import_optional("huggingface_hub.utils", command).disable_progress_bars()
    return hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))


def _errors() -> Any:
    """Return the module with the exceptions of the Hub's client."""
    return import_optional("huggingface_hub.errors", "the Hub")


@contextlib.contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Convert the errors of the Hub's client to LabError with one line."""
    errors = _errors()
    try:
        yield
    except errors.RemoteEntryNotFoundError:
        raise
    except errors.RepositoryNotFoundError as error:
        raise LabError(
            f"there is no repository {repo} on the Hub, or it is private; `hf auth login` sets a token"
        ) from error
    except Exception as error:  # of HTTP, of the network, and of missing tokens
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise LabError(f"the Hub cannot be used for {repo}: {reason}") from error
