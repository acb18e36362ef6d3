"""Hardware profiles: what a model is measured on or predicted for."""
