"""What a run leaves behind while it trains: metrics.jsonl, which is the truth, and Weights & Biases beside it."""

from __future__ import annotations

import hashlib
import json
import netrc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlparse

from rl_lab.run import Run

Mode = Literal["online", "offline", "disabled"]
AXIS = "global_step"  # agent steps: the axis of every metric


class Sink(Protocol):
    """Takes what is logged."""

    def log(self, step: int, values: dict[str, float]) -> None: ...
    def summary(self, values: dict[str, Any]) -> None: ...
    def video(self, step: int, path: Path) -> None: ...
    def artifact(self, folder: Path) -> None: ...
    def close(self) -> None: ...


class JsonLines:
    """metrics.jsonl: one object a line, flushed at once; reopened at `step`, the lines after it are dropped."""

    def __init__(self, run: Run, step: int) -> None:
        kept = [line for line in run.metrics() if line[AXIS] <= step] if step else []
        path = run.path / "metrics.jsonl"
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(json.dumps(line) + "\n" for line in kept))
        fresh.replace(path)
        self.file = path.open("a")

    def log(self, step: int, values: dict[str, float]) -> None:
        self.file.write(json.dumps({AXIS: step, **values}) + "\n")
        self.file.flush()

    def summary(self, values: dict[str, Any]) -> None:
        pass

    def video(self, step: int, path: Path) -> None:
        pass

    def artifact(self, folder: Path) -> None:
        pass

    def close(self) -> None:
        self.file.close()


class Tracker:
    """Every sink of a run at once."""

    def __init__(self, sinks: list[Sink]) -> None:
        self.sinks = sinks

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log values at an agent step; all of them are plain numbers by now."""
        for sink in self.sinks:
            sink.log(step, values)

    def summary(self, values: dict[str, Any]) -> None:
        """What the run comes down to: best and last score."""
        for sink in self.sinks:
            sink.summary(values)

    def video(self, step: int, path: Path) -> None:
        """A video file of the run at an agent step."""
        for sink in self.sinks:
            sink.video(step, path)

    def artifact(self, folder: Path) -> None:
        """A checkpoint folder to keep with the run."""
        for sink in self.sinks:
            sink.artifact(folder)

    def close(self) -> None:
        for sink in self.sinks:
            sink.close()


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
    """A W&B run that can never stop or block training: what fails there is said once, and metrics.jsonl has it all."""

    def __init__(self, run: Run, mode: Mode, tags: list[str]) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self.wandb, config, card = wandb, run.config, run.card
        options: dict[str, Any] = {
            "project": config.run.wandb_project,
            "id": self._id(run),
            "name": f"{config.agent} {card.name} s{config.run.seed}",
            "group": config.run.group or f"{config.agent}/{card.name}",
            "job_type": "train",
            "tags": tags,
            "config": {**config.to_dict(), "env_card": card.to_dict()},
            "dir": str(run.path),
            "resume": "allow",
        }
        settings = wandb.Settings(
            x_transaction_log_flush_interval=2, console="off", finish_timeout=60, init_timeout=20, silent=True
        )
        self.run: Any = None
        for attempt in dict.fromkeys((mode, "offline")):
            try:
                self.run = wandb.init(mode=attempt, settings=settings, **options)
                self.run.define_metric("*", step_metric=AXIS)
                break
            except Exception as error:  # the network, the server, the key, the disk: none of them may cost the training
                print(f"W&B {attempt} cannot start: {error}", file=sys.stderr)
                wandb.teardown()

    @staticmethod
    def _id(run: Run) -> str:
        """A readable id that a resumed run finds again: dqn-Pong-s1-x9f2."""
        path = run.path / "wandb" / "id"
        if not path.exists():
            config, env = run.config, run.card.name.replace("/", "-")
            digest = hashlib.sha1(f"{run.path.resolve()} {os.urandom(8).hex()}".encode()).hexdigest()
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{config.agent}-{env}-s{config.run.seed}-{digest[:6]}")
        return path.read_text().strip()

    def log(self, step: int, values: dict[str, float]) -> None:
        self._safely(lambda run: run.log({AXIS: step, **values}))

    def summary(self, values: dict[str, Any]) -> None:
        self._safely(lambda run: run.summary.update(values))

    def video(self, step: int, path: Path) -> None:
        film = self.wandb.Video(str(path), format=path.suffix[1:])
        self._safely(lambda run: run.log({AXIS: step, "video": film}))

    def artifact(self, folder: Path) -> None:
        def add(run: Any) -> None:
            artifact = self.wandb.Artifact(f"{run.id}-{folder.name}", type="model")
            for name in ("network.safetensors", "state.json"):
                artifact.add_file(str(folder / name))
            run.log_artifact(artifact, aliases=[folder.name])

        self._safely(add)

    def close(self) -> None:
        self._safely(lambda run: run.finish())

    def _safely(self, call: Callable[[Any], None]) -> None:
        """Whatever breaks in W&B is said once, and the run goes on without it."""
        if self.run is None:
            return
        try:
            call(self.run)
        except Exception as error:
            self.run = None
            print(f"W&B has stopped: {error}; metrics.jsonl goes on", file=sys.stderr)


def open_tracker(run: Run, mode: Mode, step: int) -> Tracker:
    """The sinks of a run that starts, or goes on, at `step`."""
    sinks: list[Sink] = [JsonLines(run, step)]
    if mode != "disabled":
        card = run.card
        sinks.append(Wandb(run, mode, [run.config.agent, card.name, card.family, card.protocol]))
    return Tracker(sinks)
