"""What is learnt on the sampled rows: the model's output, the outcome, the shift, weights, predictions."""
