"""Data collection in other processes (`--collectors`): the environments and the acting run beside one learner.

A collector is a Ray actor with a share of the environments and a copy of the network. It steps its environments for a
chunk of rows with fixed weights, then sends the chunk. While the learner learns from chunk k, the collectors play chunk
k + 1 with the weights from before chunk k was learned. When the learner observes a row, the weights that played the row
are one to two chunks old.

This delay is fixed, and the learner joins the chunks in the order of the collectors. A run with collectors is
therefore deterministic, and a resumed run equals an uninterrupted one. The learner makes as many updates per agent step
as in a run without collectors.

A collector whose process or node dies is replaced. Its episodes are truncated at the last row that arrived.
"""
