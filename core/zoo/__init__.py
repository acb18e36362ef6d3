"""Many models: which, in which order, each in a process of its own, and a journal of what became of them."""
