"""The doctor's diagnoses."""

from rl_lab.system import doctor


def test_two_opencvs_are_a_problem(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda package: "5.0" if package != "opencv-contrib-python" else None)
    assert "overwrite each other's cv2" in doctor.problems()[0]
    assert "pip uninstall opencv-python opencv-python-headless" in doctor.problems()[0]


def test_a_missing_package_is_a_problem(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda package: None if package in ("wandb", "opencv-python") else "1")
    assert any("wandb is not installed" in p for p in doctor.problems())
