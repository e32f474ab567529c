"""Names of settings: those of other libraries, and help for names that are unknown.

The command line, YAML files and `rl_lab.train` accept the same names, because all of them use these functions. A name
may be written with dashes or with underscores.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from agents.core.settings import ConfigError

# Each row holds names of one setting. The first is that of this project, the others are those of Stable-Baselines3
# (with rl-baselines3-zoo) and CleanRL. The Stable-Baselines3 agents of this project have settings with other names of a
# row, so every name stands for every other one.
EQUIVALENT_NAMES = (
    ("lr", "learning_rate"),
    ("steps", "total_timesteps", "n_timesteps"),
    ("env", "env_id", "env_name"),
    ("num_envs", "n_envs"),
    ("replay_size", "buffer_size"),
    ("grad_clip", "max_grad_norm"),
    ("epsilon_start", "exploration_initial_eps", "start_e"),
    ("epsilon_end", "exploration_final_eps", "end_e"),
    ("priority_alpha", "prioritized_replay_alpha"),
    ("priority_beta", "prioritized_replay_beta"),
    ("value_low", "v_min"),
    ("value_high", "v_max"),
    ("atoms", "n_atoms"),
    ("num_quantiles", "n_quantiles"),
    ("ratio_clip", "clip_range", "clip_coef"),
    ("value_clip", "clip_range_vf"),
    ("normalize_obs", "norm_obs"),
    ("normalize_reward", "norm_reward"),
    ("entropy_weight", "ent_coef"),
    ("epochs", "n_epochs", "update_epochs"),
    ("actor_every", "policy_delay", "policy_frequency"),
    ("exploration_noise", "noise_std"),
    ("target_noise", "target_policy_noise", "policy_noise"),
    ("target_noise_clip", "noise_clip"),
    ("eval_episodes", "n_eval_episodes"),
    ("wandb_project", "wandb_project_name"),
    ("env_args", "env_kwargs"),
    ("wrappers", "env_wrapper"),
)

# Names of other libraries that stand for a setting of ours, while ours does not stand for theirs: n_steps of
# Stable-Baselines3 is that of the n-step return for DQN and SAC, and the length of a rollout for PPO and A2C.
ONE_WAY_NAMES = {"n_steps": "n_step"}

# Names of other libraries whose meaning differs: name -> (nearest setting, the difference).
SIMILAR_NAMES = {
    "exploration_fraction": ("epsilon_steps", "agent steps until epsilon_end, exploration_fraction times steps"),
    "target_update_interval": ("target_every", "it counts updates, not steps"),
    "target_network_frequency": ("target_every", "it counts updates, not steps"),
    "tau": ("target_tau", "it applies after every update, and 0 copies the network every target_every updates"),
    "target_entropy": ("target_entropy_per_entry", "target_entropy divided by the number of entries of an action"),
    "train_freq": ("replay_ratio", "sampled transitions per agent step, batch_size * gradient_steps / train_freq"),
    "train_frequency": ("replay_ratio", "sampled transitions per agent step, batch_size / train_frequency"),
    "gradient_steps": ("replay_ratio", "sampled transitions per agent step, batch_size * gradient_steps / train_freq"),
    "n_steps": ("batch_size", "agent steps of a rollout over all environments, n_steps * num_envs"),
    "num_steps": ("batch_size", "agent steps of a rollout over all environments, num_steps * num_envs"),
    "num_minibatches": ("minibatch_size", "agent steps in a minibatch, batch_size / num_minibatches"),
    "gae_lambda": ("trace_decay", "lambda of the advantage or of the returns, and of the traces for tabular agents"),
    "vf_coef": ("value_weight", "equal to that of Stable-Baselines3, and half of that of CleanRL"),
    "norm_adv": ("standardize", "reinforce: true or false, over each batch; ppo: none, batch or minibatch"),
    "normalize_advantage": ("standardize", "reinforce: true or false, over each batch; ppo: none, batch or minibatch"),
    "clip_vloss": ("value_clip", "a number, which is that of ratio_clip in CleanRL"),
    "normalize": ("normalize_obs", "it normalises observations only; normalize_reward normalises rewards"),
    "rew_norm": ("normalize_reward", "it divides the rewards, not the returns, by a deviation"),
    "reward_normalization": ("normalize_reward", "it divides the rewards, not the returns, by a deviation"),
    "anneal_lr": ("lr_end", "the learning rate reaches lr_end at agent step lr_steps"),
    "net_arch": ("hidden", "units of each hidden layer"),
    "eval_freq": ("eval_every", "it counts agent steps over all environments"),
    "save_freq": ("checkpoint_every", "it counts agent steps over all environments"),
    "log_interval": ("log_every", "it counts agent steps, not episodes or rollouts"),
    "capture_video": ("video_every", "agent steps between two videos"),
    "cuda": ("device", "cuda or cpu"),
    "track": ("wandb", "online, offline or disabled"),
    "exp_name": ("group", "a name that several runs share"),
    "policy_kwargs": ("hidden", "units of each hidden layer"),
}

PPO_SETTINGS = ("epochs", "minibatch_size", "ratio_clip", "value_clip", "target_kl")
"""Settings of ppo that a user of `reinforce` or `a2c` may look for. `reinforce` had the first three before."""


def canonical_name(name: str, known: Collection[str]) -> str | None:
    """Return the setting that a name stands for, or None.

    Args:
        name: The name, with dashes or underscores. It may be that of another library.
        known: Names of the settings of the run and of its agent.
    """
    name = name.replace("-", "_")
    if name in known:
        return name
    for names in EQUIVALENT_NAMES:
        if name not in names:
            continue
        for equivalent in names:
            if equivalent in known:
                return equivalent
    setting = ONE_WAY_NAMES.get(name)
    return setting if setting in known else None


def canonical_names(settings: dict[str, Any], known: Collection[str], source: str) -> dict[str, Any]:
    """Return settings with each name replaced by the setting that it stands for.

    Args:
        settings: Name -> value.
        known: Names of the settings of the run and of its agent.
        source: Origin of the settings, for error messages.

    Raises:
        ConfigError: A name is unknown, or two names stand for the same setting.
    """
    values: dict[str, Any] = {}
    given: dict[str, str] = {}  # setting -> the name that was given
    for name, value in settings.items():
        setting = canonical_name(str(name), known)
        if setting is None:
            raise ConfigError(unknown_name_message(str(name), known, source))
        if setting in given:
            raise ConfigError(f"{given[setting]} and {name} in {source} are the same setting; give one of them")
        given[setting] = str(name)
        values[setting] = value
    return values


def unknown_name_message(name: str, known: Collection[str], source: str) -> str:
    """Return the message for a name that stands for no setting. It names the nearest setting."""
    similar = describe_similar(name, known)
    if similar is not None:
        return f"unknown setting {name!r} in {source}; {similar}"
    shown = name if len(name) <= 60 else f"{name[:57]}..."
    nearest = difflib.get_close_matches(shown, known, 1, 0.0)[0]
    return f"unknown setting {shown!r} in {source}; the nearest is {nearest!r}"


def describe_similar(name: str, known: Collection[str]) -> str | None:
    """Return what an unknown name may stand for: a similar setting, or a setting of `ppo`; None for other names.

    Args:
        name: The name, with dashes or underscores. It may be that of another library.
        known: Names of the settings of the run and of its agent.
    """
    nearest, difference = SIMILAR_NAMES.get(name.replace("-", "_"), (None, ""))
    if nearest in known:
        return f"the nearest is {nearest!r}: {difference}"
    if canonical_name(name, PPO_SETTINGS) is not None:
        return "the agent ppo has this setting"
    return None
