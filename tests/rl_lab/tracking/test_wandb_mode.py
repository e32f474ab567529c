"""The W&B mode of a run."""

from pathlib import Path

import pytest

from rl_lab.tracking.wandb_mode import resolve_wandb_mode


@pytest.fixture
def netrc_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the path of a .netrc file that does not exist, in an environment without W&B settings."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


@pytest.mark.usefixtures("netrc_file")
def test_mode_is_offline_without_a_key():
    assert resolve_wandb_mode("auto") == ("offline", "no API key in WANDB_API_KEY or .netrc")
    assert resolve_wandb_mode("online")[0] == "offline"
    assert resolve_wandb_mode("disabled")[0] == "disabled"


def test_mode_is_online_with_a_key_unless_the_setting_or_wandb_mode_differ(netrc_file, monkeypatch):
    netrc_file.write_text("machine api.wandb.ai\n  login user\n  password 0123456789\n")
    assert resolve_wandb_mode("auto") == ("online", f"API key found in {netrc_file}")
    assert resolve_wandb_mode("offline") == ("offline", "set by --wandb")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert resolve_wandb_mode("auto") == ("disabled", "set by WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert resolve_wandb_mode("online") == ("online", "API key found in WANDB_API_KEY")
