"""The chain rule: the reverse, forward and batching walks. They know the methods of Op, and no op.

In a walk, the value that belongs to a node with a `TupleType` (its cotangent, tangent or batched form) is a tuple with
one entry for each item, and None stands for zero (or for "not batched").
"""

from graphc.chain.batching import batch
from graphc.chain.forward import forward
from graphc.chain.reverse import reverse

__all__ = ["batch", "forward", "reverse"]
