"""What a run leaves behind while it trains: metrics.jsonl, which is the truth, and Weights & Biases beside it."""

from __future__ import annotations

import hashlib
import json
import netrc
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlparse

from rl_lab import checkpoint
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.system.shell import PROG

Mode = Literal["online", "offline", "disabled"]
AXIS = "global_step"  # agent steps: the axis of every metric
SCORE = "eval/return_mean"  # the mean raw score of an evaluation's games


class Sink(Protocol):
    """Takes what is logged."""

    def log(self, step: int, values: dict[str, Any]) -> None: ...
    def complete(self) -> None: ...
    def close(self) -> None: ...


class JsonLines:
    """metrics.jsonl: one object a line, flushed at once; it begins with `lines`, which stay."""

    def __init__(self, run: Run, lines: list[dict[str, Any]]) -> None:
        path = run.path / "metrics.jsonl"
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(json.dumps(line) + "\n" for line in lines))
        fresh.replace(path)
        self.file = path.open("a")

    def log(self, step: int, values: dict[str, Any]) -> None:
        self.file.write(json.dumps({AXIS: step, **values}) + "\n")
        self.file.flush()

    def complete(self) -> None:
        pass

    def close(self) -> None:
        with suppress(OSError):  # of a full disk the line that did not fit has told
            self.file.close()


class Tracker:
    """Every sink of a run at once."""

    def __init__(self, run: Run, sinks: list[Sink]) -> None:
        self.run, self.sinks = run, sinks

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Log values at an agent step; all of them are plain numbers by now."""
        for sink in self.sinks:
            sink.log(step, values)

    def video(self, step: int, path: Path) -> None:
        """A video file in the run's folder at an agent step."""
        self.log(step, {"video": str(path.relative_to(self.run.path))})

    def complete(self) -> None:
        """All is logged and saved: what belongs to a run as a whole follows."""
        for sink in self.sinks:
            sink.complete()

    def close(self) -> None:
        for sink in self.sinks:
            sink.close()


def summarise(lines: list[dict[str, Any]], target: float | None) -> dict[str, Any]:
    """What the lines of metrics.jsonl come down to: best and last evaluation, steps, minutes, and those to the target score."""
    evaluations = [line for line in lines if SCORE in line]
    found: dict[str, Any] = {
        "best": max((line[SCORE] for line in evaluations), default=None),
        "final": evaluations[-1][SCORE] if evaluations else None,
        "steps": lines[-1][AXIS] if lines else 0,
        "minutes": max((line.get("time/minutes", 0.0) for line in lines), default=0.0),
    }
    if target is not None:
        hit = next((line for line in evaluations if line[SCORE] >= target), {})
        found |= {"target": target, "steps_to_target": hit.get(AXIS), "minutes_to_target": hit.get("time/minutes")}
    return found


def wandb_mode(asked: str) -> tuple[Mode, str]:
    """The mode that will be used and why, without asking W&B, which could wait on a prompt or on the network."""
    if asked in ("offline", "disabled"):
        return asked, "as asked"  # type: ignore[return-value]
    if os.environ.get("WANDB_MODE") in ("offline", "disabled") and asked == "auto":
        return os.environ["WANDB_MODE"], "WANDB_MODE says so"  # type: ignore[return-value]
    if key := wandb_key():
        return "online", f"a key is in {key}"
    if asked == "online":
        return "offline", "no key in WANDB_API_KEY or .netrc: `wandb login` first"
    return "offline", "no key in WANDB_API_KEY or .netrc"


def wandb_key() -> str | None:
    """Where a W&B key is to be found, if anywhere."""
    if os.environ.get("WANDB_API_KEY"):
        return "WANDB_API_KEY"
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return str(path) if netrc.netrc(path).authenticators(host) else None
    except (OSError, netrc.NetrcParseError):
        return None


class Wandb:
    """A W&B run that can never stop or block training: what fails there is said once, and metrics.jsonl has it all.

    Its history is the lines of metrics.jsonl, in their order, one each: what the server has is always the beginning of the
    file. So where a run goes on, the lines that are missing there are sent first, and those that came after the checkpoint
    and are there already are not sent again.
    """

    def __init__(
        self, run: Run, mode: Mode, lines: list[dict[str, Any]], *, patience: float = 15, or_offline: bool = True
    ) -> None:
        """`lines` are those that the run has so far. Online, it waits 15 seconds for the server to answer, else it goes on
        offline (if it may), and `patience` seconds at the end for all to arrive.
        """
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self.wandb, self.folder = wandb, run
        config, env_spec = run.config, run.env_spec
        options: dict[str, Any] = {
            "project": config.run.wandb_project,
            "id": self._id(run),
            "name": f"{config.agent} {env_spec.name} s{config.run.seed}",
            "group": config.run.group or f"{config.agent}/{env_spec.name}",
            "job_type": "train",
            "tags": [config.agent, env_spec.name, env_spec.family, env_spec.protocol],
            "config": {**config.to_dict(), "env_card": env_spec.to_dict()},
            "dir": str(run.path),
            "resume": "allow",
        }
        settings = wandb.Settings(
            x_transaction_log_flush_interval=2,
            console="off",
            init_timeout=15,
            finish_timeout=patience,
            reinit="finish_previous",
            finish_timeout_raises=True,
            silent=True,
        )
        self.run: Any = None
        self.lines = self.there = 0  # passed on to W&B or not, and of those with W&B from an earlier session
        for attempt in dict.fromkeys((mode, "offline") if or_offline else (mode,)):
            try:
                self.run = wandb.init(mode=attempt, settings=settings, **options)
                self.run.define_metric("*", step_metric=AXIS)
                self.there = self.run.starting_step if attempt == "online" else len(lines)
                break
            except Exception as error:  # the network, the server, the key, the disk: none of them may cost the training
                print(f"W&B {attempt} cannot start: {error}", file=sys.stderr)
                wandb.teardown()
        self.online = self.run is not None and not self.run.offline
        for line in lines:
            self._add(line)

    @staticmethod
    def _id(run: Run) -> str:
        """A readable id that a resumed run finds again: dqn-Pong-s1-x9f2."""
        path = run.path / "wandb" / "id"
        if not path.exists():
            config, env = run.config, re.sub(r"[^\w.-]", "-", run.env_spec.name)  # of mine:Env-v0 W&B refuses the colon
            digest = hashlib.sha1(f"{run.path.resolve()} {os.urandom(8).hex()}".encode()).hexdigest()
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{config.agent}-{env}-s{config.run.seed}-{digest[:6]}")
        return path.read_text().strip()

    def log(self, step: int, values: dict[str, Any]) -> None:
        self._add({AXIS: step, **values})

    def _add(self, line: dict[str, Any]) -> None:
        self.lines += 1
        if self.lines <= self.there:
            return
        path = self.folder.path / line.get("video", "")

        def send(run: Any) -> None:
            film = {"video": self.wandb.Video(str(path), format=path.suffix[1:])} if path.is_file() else {}
            run.log({**line, **film})

        self._safely(send)

    def complete(self) -> None:
        """The summary, and the best and the last checkpoint's networks as versions of one artifact."""
        config = self.folder.config.run
        self._safely(lambda run: run.summary.update(summarise(self.folder.metrics(), config.target)))
        for which in ("last", "best"):  # if their weights are the same, the one version bears both names
            try:
                weights = checkpoint.find(self.folder.path, which) / "network.safetensors"
            except LabError:  # there is none yet
                continue
            self._safely(lambda run, weights=weights, which=which: self._keep(run, weights, which))

    def _keep(self, run: Any, weights: Path, which: str) -> None:
        artifact = self.wandb.Artifact(str(run.id), type="model")
        artifact.add_file(str(weights))
        run.log_artifact(artifact, aliases=[which])

    def close(self) -> None:
        """End the W&B run."""
        self._safely(lambda run: run.finish())

    @property
    def works(self) -> bool:
        """Whether W&B has taken everything so far, on its server or offline; after `close` for good."""
        return self.run is not None

    def _safely(self, call: Callable[[Any], None]) -> None:
        """Whatever breaks in W&B is said once, and the run goes on without it."""
        if self.run is None:
            return
        try:
            call(self.run)
        except Exception as error:
            self.run = None
            print(
                f"W&B has stopped: {error or type(error).__name__}; metrics.jsonl has it all, and `{PROG} sync` sends it",
                file=sys.stderr,
            )


def open_tracker(run: Run, mode: Mode, step: int, listener: Sink | None = None) -> Tracker:
    """The sinks of a run that starts, or goes on, at `step`, and one more; lines that are later than that are dropped."""
    lines = [line for line in run.metrics() if line[AXIS] <= step] if step else []
    sinks: list[Sink] = [JsonLines(run, lines)]
    if mode != "disabled":
        sinks.append(Wandb(run, mode, lines))
    if listener is not None:
        sinks.append(listener)
    return Tracker(run, sinks)
