"""Recipe, run, gates and report."""
