"""Tests of the problems that the command `doctor` reports."""

import pytest

from rl_lab.system import diagnosis


def test_two_opencv_packages_are_a_problem(monkeypatch: pytest.MonkeyPatch):
    def version(package: str) -> str | None:
        return None if package == "opencv-contrib-python" else "5.0"

    monkeypatch.setattr(diagnosis, "installed_version", version)
    (problem,) = diagnosis.find_problems()
    assert "overwrite each other's cv2" in problem
    assert "pip uninstall opencv-python opencv-python-headless" in problem


def test_a_missing_package_is_a_problem(monkeypatch: pytest.MonkeyPatch):
    def version(package: str) -> str | None:
        return None if package in ("wandb", "opencv-python", "opencv-contrib-python") else "1"

    monkeypatch.setattr(diagnosis, "installed_version", version)
    assert diagnosis.find_problems() == ["wandb is not installed: pip install wandb"]


def test_missing_opencv_is_a_problem(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diagnosis, "installed_version", lambda package: None if "opencv" in package else "1")
    assert diagnosis.find_problems() == ["OpenCV is not installed: pip install opencv-python-headless"]


@pytest.mark.parametrize(("number", "text"), [(1, "1 torch thread"), (2, "2 torch threads"), (0, "0 torch threads")])
def test_one_thread_is_singular(number: int, text: str):
    assert diagnosis.count_of(number, "torch thread") == text
