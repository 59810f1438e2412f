"""From requests to batches: admission by cost, fairness, one batcher a model."""
