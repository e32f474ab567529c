"""The viewer: an agent plays games, and each step is shown with the agent's input and output.

`rl_lab.watch(run)` returns a video (`rl_lab.api.watch`).
"""

from rl_lab.system.callable_package import make_callable

make_callable(__name__, "rl_lab.api:watch")
