"""Names under which older versions stored objects in the files of Ray Tune.

Tune pickles callbacks and functions of a sweep by module and name. `register_old_names` makes the names of older
versions available again, so that their sweeps can be resumed.
"""

from __future__ import annotations

from rl_lab.sweep import search, search_tuner, sweep, trial_table, tuner


def register_old_names() -> None:
    """Add the old names to the modules that Tune's files refer to."""
    setattr(sweep, "Watched", trial_table.TrialTable)  # noqa: B010
    setattr(sweep, "_folder", tuner.trial_folder_name)  # noqa: B010
    setattr(search, "inside", search_tuner.clip_to_space)  # noqa: B010
