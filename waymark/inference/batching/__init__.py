"""From requests to batches: admission by cost, fairness, one batcher a model.

batcher   two threads that tokenise and answer what waits for one model
work      what a model is asked, what came of it, and who is told
capacity  how much may wait in a service
fairness  whose turn it is
choice    what is batched together
cost  encoding  tickets  settling    parts of these
"""

from waymark.inference.batching.batcher import Batcher
from waymark.inference.batching.capacity import QueueCapacity
from waymark.inference.batching.cost import CHARACTERS_A_TOKEN, CostModel
from waymark.inference.batching.work import Answer, Loss, Observer, Query, Work

__all__ = ["CHARACTERS_A_TOKEN", "Answer", "Batcher", "CostModel", "Loss", "Observer", "Query", "QueueCapacity", "Work"]
