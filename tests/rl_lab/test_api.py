"""The Python interface: names, callbacks, videos, tables and comparisons."""

import builtins
import inspect
import itertools
import math
import subprocess
import sys
from typing import Any

import av
import cv2
import numpy as np
import pytest

import rl_lab
from rl_lab.errors import ConfigError, Fault, LabError
from rl_lab.training.session import TrainingSession


def test_dir_shows_the_public_names_only():
    names = set(dir(rl_lab))
    assert names >= {"train", "load", "evaluate", "resume", "show", "watch", "compare", "Run"}
    assert not {"find_spec", "Path", "TYPE_CHECKING"} & names


def test_functions_with_the_names_of_packages_stay_callable():
    program = (
        "import rl_lab, rl_lab.compare.runs, rl_lab.watch.controls\n"
        "print(callable(rl_lab.compare), callable(rl_lab.watch))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "True"]
    assert "seed" in inspect.signature(rl_lab.watch).parameters


def test_a_callback_sees_every_row_and_adds_metrics(train: Any):
    steps = []

    def callback(session: TrainingSession) -> None:
        steps.append(session.state.steps)
        session.extra_metrics["mine/steps"] = session.state.steps

    run = train(steps=600, num_envs=4, log_every=200, callbacks=[callback])
    assert steps[-1] == 600
    assert steps == sorted(set(steps))  # once a row
    assert max(after - before for before, after in itertools.pairwise(steps)) <= 4
    logged = {line["global_step"]: line["mine/steps"] for line in run.metrics() if "mine/steps" in line}
    assert len(logged) == 3
    assert all(step == value for step, value in logged.items())


def test_metrics_of_a_callback_in_the_last_rows_are_logged(train: Any):
    def callback(session: TrainingSession) -> None:
        if session.state.steps > 500:
            session.extra_metrics["mine/half"] = 0.5

    run = train(steps=600, num_envs=4, log_every=400, callbacks=[callback])
    assert [line["mine/half"] for line in run.metrics() if "mine/half" in line] == [0.5]


def test_callbacks_do_not_change_what_is_learned(train: Any):
    with_callback = train(steps=600, callbacks=[lambda session: None])
    without = train(steps=600)
    scores = [[line.get("eval/return_mean") for line in run.metrics()] for run in (with_callback, without)]
    assert scores[0] == scores[1]


def test_a_callback_ends_the_run_which_resume_continues(train: Any):
    run = train(steps=1200, callbacks=[lambda session: session.state.steps < 400])
    assert run.metrics()[-1]["global_step"] == pytest.approx(400, abs=8)
    assert "eval/return_mean" in run.metrics()[-2]  # evaluated and saved
    rl_lab.resume(run, quiet=True)
    assert run.metrics()[-1]["global_step"] >= 1200


def test_an_error_in_a_callback_names_it(train: Any):
    def callback(session: TrainingSession) -> None:
        raise ValueError("my mistake")

    with pytest.raises(Fault, match="ValueError: my mistake"):
        train(steps=600, callbacks=[callback])


def test_watch_returns_a_video_that_a_notebook_shows(tmp_path: Any, capsys: Any):
    video = rl_lab.watch("demo", max_steps=30, seed=1)
    assert video._repr_html_().startswith("<video")
    video.save(tmp_path / "episodes.mp4")
    with av.open(str(tmp_path / "episodes.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 31  # with the last state
    assert len(video.scores) == 1
    capture = cv2.VideoCapture(str(tmp_path / "episodes.mp4"))  # a decoder other than that of `frames`
    _, first = capture.read()
    frames = video.frames()
    assert len(frames) == 31
    assert np.abs(frames[0].astype(int) - first[:, :, ::-1]).mean() < 3
    assert "frames" not in capsys.readouterr().out
    with pytest.raises(LabError, match=r"must end in \.mp4"):
        video.save(tmp_path / "episodes.gif")
    with pytest.raises(ConfigError, match="watch has no option 'web'"):
        rl_lab.watch("demo", web=True)


def test_metrics_frame_holds_the_lines(train: Any):
    pytest.importorskip("pandas")
    run = train(steps=600)
    frame = run.metrics_frame()
    assert frame.index.name == "global_step"
    assert frame.index.is_unique
    cells = {}  # an independent reading: the last value of each metric at each step
    for line in run.metrics():
        for name, value in line.items():
            if name != "global_step":
                cells[line["global_step"], name] = value
    assert set(frame.columns) == {name for _, name in cells}
    for step in frame.index:
        for name in frame.columns:
            value = frame.loc[step, name]
            if (step, name) in cells:
                assert value == cells[step, name]
            else:
                assert math.isnan(value)


def test_compare_returns_a_table_and_a_figure(train: Any, tmp_path: Any):
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    runs = [train(steps=600, seed=seed) for seed in (1, 2)] + [train("a2c", steps=600)]
    result = rl_lab.compare(["dqn", "a2c"], runs_dir=str(tmp_path / "runs"))
    table = result.table.set_index("agent")
    assert table["seeds"].to_dict() == {"dqn": 2, "a2c": 1}
    last = [[line["eval/return_mean"] for line in run.metrics() if "eval/return_mean" in line][-1] for run in runs]
    assert table.loc["dqn", "final"] == pytest.approx((last[0] + last[1]) / 2)
    assert table.loc["a2c", "final"] == last[2]
    (panel,) = result.figure.axes
    assert len(panel.lines) == 2
    assert np.asarray(panel.lines[1].get_ydata())[-1] == pytest.approx(last[2], abs=1e-3)
    figure: Any = result.figure
    assert figure._repr_png_()[:4] == b"\x89PNG"
    html = result._repr_html_()
    assert "<table" in html
    assert "data:image/png" in html
    assert "fewer than 5 seeds" in html


def test_missing_packages_are_named_in_one_line(monkeypatch: Any):
    real_import = builtins.__import__

    def without_pandas(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "pandas":
            raise ImportError("No module named 'pandas'")
        return real_import(name, *args, **kwargs)

    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(LabError, match=r"needs the package pandas.*pip install \"rl-lab\[plots\]\""):
        rl_lab.Run.find("demo").metrics_frame()


def test_compare_refuses_unknown_axes_and_names(tmp_path: Any):
    with pytest.raises(ConfigError, match="x is 'hours'"):
        rl_lab.compare("demo", x="hours")  # type: ignore[arg-type]
    with pytest.raises(LabError, match="no run matches 'nothing'"):
        rl_lab.compare(["nothing"], runs_dir=str(tmp_path))
