"""From requests to batches: admission by cost, fairness, and one batcher for each model.

batcher         threads that tokenise and answer the requests for one model
queries         queries, answers, observers
queue_capacity  limits of a service's queue
fairness        which caller is served next
batch_choice    which requests share a batch
request_cost    cost of a request in tokens
encoding, tickets, outcome_delivery    parts of these
"""

from waymark.inference.batching.batcher import Batcher
from waymark.inference.batching.queries import Answer, Loss, Observer, Query, Work
from waymark.inference.batching.queue_capacity import QueueCapacity
from waymark.inference.batching.request_cost import CHARACTERS_A_TOKEN, CostModel

__all__ = ["CHARACTERS_A_TOKEN", "Answer", "Batcher", "CostModel", "Loss", "Observer", "Query", "QueueCapacity", "Work"]
