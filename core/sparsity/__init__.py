"""Which weights to zero, and how many activations are."""
