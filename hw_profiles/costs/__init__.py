"""What classes of operators cost in a kind of runtime, one YAML each; see `schema.Costs`."""
