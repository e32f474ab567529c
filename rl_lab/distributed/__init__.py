"""Environments and acting in processes of their own, on this machine or on others, beside one learner with the replay.

A collector (an actor of Ray) plays a chunk of rows with the weights it is given and sends it as single frames. While the learner
learns from chunk k, the collectors play chunk k + 1, with the weights from before chunk k was learned: a row is one to two
chunks old when it is learned from. The lag is fixed and the chunks are put together in the collectors' order, so a run with
collectors is as deterministic as one without, and is resumed as exactly. The learner makes the updates that belong to the
rows, so the replay ratio is what it always is.

A collector that dies, with its process or its node, is replaced. Its episodes end as truncated at the last row that arrived.
"""
