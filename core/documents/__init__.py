"""YAML files that people write: read with the place of every value, and problems said in their words."""
