"""Comparison of runs: statistics with confidence intervals, an HTML page, and a W&B report.

`rl_lab.compare(runs)` returns a table and a figure (`rl_lab.api.compare`).
"""

from rl_lab.system.callable_package import make_callable

make_callable(__name__, "rl_lab.api:compare")
