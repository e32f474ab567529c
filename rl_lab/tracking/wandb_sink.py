"""The metrics, videos and networks of a run in Weights & Biases (W&B)."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl_lab import checkpoint
from rl_lab.errors import LabError
from rl_lab.experiment.run import Run
from rl_lab.system.data_files import MissingFileError, read_text
from rl_lab.system.portable_name import portable_name
from rl_lab.system.printable import ascii_printable, print_line
from rl_lab.system.shell import PROG
from rl_lab.tracking.metric_names import STEP_METRIC
from rl_lab.tracking.summary import summarise_metrics
from rl_lab.tracking.wandb_mode import WandbMode

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run as WandbRun

INIT_TIMEOUT = 15.0  # seconds to wait for the server at the start
FINISH_TIMEOUT = 15.0  # seconds to wait for uploads at the end


class WandbSink:
    """Sends the metrics of a run to W&B. A failure of W&B never stops or blocks training.

    After the first exception, the sink prints a message and ignores all further calls. The file metrics.jsonl is still
    complete, and the command `sync` uploads the missing lines later.

    The W&B history has one entry per line of metrics.jsonl, in the same order. If the server has n entries, they are
    the first n lines of the file. When a run resumes, the sink therefore skips n lines (`num_uploaded`) and sends the
    lines after them. A run that resumes after a crash logs the lines after its last checkpoint again. Of these lines,
    the sink skips those that the server already has.
    """

    def __init__(
        self,
        run: Run,
        mode: WandbMode,
        lines: list[dict[str, Any]],
        *,
        finish_timeout: float = FINISH_TIMEOUT,
        offline_fallback: bool = True,
    ) -> None:
        """Start or continue the W&B run of a run folder.

        Args:
            run: The run folder.
            mode: "online" or "offline".
            lines: The lines of metrics.jsonl so far, oldest first. The lines that W&B lacks are sent at once.
            finish_timeout: Seconds that `close` waits for uploads.
            offline_fallback: Use the mode "offline" if "online" fails to start.
        """
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb  # the import takes over a second, and most runs do not need it

        self.wandb = wandb
        self.run = run
        self.wandb_run: WandbRun | None = None  # None after a failure
        self.num_lines = 0  # number of lines passed to `_send`
        # Number of the first lines that are not sent: the lines that the server had when this sink was created. An
        # offline run cannot know this number; it sends only new lines, and `sync` uploads the earlier ones.
        self.num_uploaded = 0
        self._start(mode, len(lines), finish_timeout)
        if self.wandb_run is None and offline_fallback and mode != "offline":
            self._start("offline", len(lines), finish_timeout)
        self.is_online = self.wandb_run is not None and not self.wandb_run.offline
        for line in lines:
            self._send(line)

    @property
    def is_working(self) -> bool:
        """Return True if no call of W&B has failed so far, online or offline. The value is also valid after `close`."""
        return self.wandb_run is not None

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Add one entry to the W&B history. If `values` has a "video", the video file is uploaded with the entry."""
        self._send({STEP_METRIC: step, **values})

    def complete(self) -> None:
        """Write the summary, and upload the networks of the last and the best checkpoint as an artifact."""
        target = self.run.config.run.target
        self._call(lambda wandb_run: wandb_run.summary.update(summarise_metrics(self.run.metrics(), target)))
        # If both files are equal, W&B stores one version of the artifact and gives it both aliases.
        for which in ("last", "best"):
            self._upload_network(which)

    def close(self) -> None:
        """Finish the W&B run."""
        self._call(lambda wandb_run: wandb_run.finish())

    def _start(self, mode: WandbMode, num_lines: int, finish_timeout: float) -> None:
        """Start the W&B run. If this fails, print a message: a missing server or a full disk must not stop training.

        Args:
            mode: "online" or "offline".
            num_lines: Number of lines in metrics.jsonl so far.
            finish_timeout: Seconds that `close` waits for uploads.
        """
        config = self.run.config
        env_spec = self.run.env_spec
        env_name = portable_name(env_spec.name)
        settings = self.wandb.Settings(
            x_transaction_log_flush_interval=2,
            console="off",
            init_timeout=INIT_TIMEOUT,
            finish_timeout=finish_timeout,
            reinit="finish_previous",
            finish_timeout_raises=True,
            silent=True,
        )
        try:
            self.wandb_run = self.wandb.init(
                mode=mode,
                settings=settings,
                project=config.run.wandb_project,
                id=wandb_run_id(self.run),
                name=config.run.name or f"{config.agent} {env_name} s{config.run.seed}",
                notes=config.run.notes or None,
                group=config.run.group or f"{config.agent}/{env_name}",
                job_type="train",
                tags=[config.agent, env_spec.name, env_spec.family, env_spec.protocol, *_words(config.run.tags)],
                config={**config.to_dict(), "env_card": env_spec.to_dict()},
                dir=str(self.run.path),
                resume="allow",
            )
            self.wandb_run.define_metric("*", step_metric=STEP_METRIC)
            self.num_uploaded = self.wandb_run.starting_step if mode == "online" else num_lines
        except Exception as error:
            print_line(f"W&B {mode} cannot start: {error}", file=sys.stderr)
            self.wandb_run = None
            self.wandb.teardown()

    def _send(self, line: dict[str, Any]) -> None:
        """Send one line of metrics.jsonl, unless W&B already has it."""
        self.num_lines += 1
        if self.num_lines > self.num_uploaded:
            self._call(lambda wandb_run: wandb_run.log(self._with_video(line)))

    def _with_video(self, line: dict[str, Any]) -> dict[str, Any]:
        """Return the line with the path of a video replaced by the video. A line without a video file is unchanged."""
        if "video" not in line:
            return line
        path = self.run.path / line["video"]
        if not path.is_file():
            return line
        return {**line, "video": self.wandb.Video(str(path), format=path.suffix[1:])}

    def _upload_network(self, which: str) -> None:
        """Upload the network of the "last" or the "best" checkpoint with this word as its alias, if there is one."""
        try:
            weights = checkpoint.find(self.run.path, which) / "network.safetensors"
        except LabError:
            return
        self._call(lambda wandb_run: self._log_artifact(wandb_run, weights, which))

    def _log_artifact(self, wandb_run: WandbRun, weights: Path, alias: str) -> None:
        """Log a version of the artifact whose name is the id of the W&B run."""
        artifact = self.wandb.Artifact(str(wandb_run.id), type="model")
        artifact.add_file(str(weights))
        wandb_run.log_artifact(artifact, aliases=[alias])

    def _call(self, function: Callable[[WandbRun], object]) -> None:
        """Call `function` with the W&B run, unless W&B has failed. If it raises, print a message and stop using W&B."""
        if self.wandb_run is None:
            return
        try:
            function(self.wandb_run)
        except Exception as error:
            self.wandb_run = None
            reason = error or type(error).__name__
            print_line(
                f"W&B stopped: {reason}; metrics.jsonl is complete, and `{PROG} sync` uploads the missing lines later",
                file=sys.stderr,
            )


def _words(tags: str) -> list[str]:
    """Return the words of the setting `tags`."""
    return [word.strip() for word in tags.split(",") if word.strip()]


def wandb_id_file(run: Run) -> Path:
    """Return the file in the run folder that holds the id of the W&B run."""
    return run.path / "wandb" / "id"


def read_wandb_id(run: Run) -> str | None:
    """Return the id of the W&B run, or None if the run was never logged to W&B. Raise LabError if it is unreadable."""
    try:
        return read_text(wandb_id_file(run)).strip()
    except MissingFileError:
        return None


def wandb_run_id(run: Run) -> str:
    """Return the id of the W&B run, such as dqn-Pong-s1-a9f2c1. It is created once and stored in the run folder.

    The id is also the name of an artifact, which may contain ASCII letters, digits, underscores, dots and hyphens.

    Raises:
        LabError: The stored id cannot be read.
        OSError: The id cannot be written.
    """
    existing_id = read_wandb_id(run)
    if existing_id is not None:
        return existing_id
    config = run.config
    name = portable_name(ascii_printable(f"{config.agent}-{run.env_spec.name}-s{config.run.seed}"))
    digest = hashlib.sha1(f"{run.path.resolve()} {os.urandom(8).hex()}".encode()).hexdigest()
    new_id = f"{name}-{digest[:6]}"
    path = wandb_id_file(run)
    path.parent.mkdir(exist_ok=True)
    path.write_text(new_id)
    return new_id
