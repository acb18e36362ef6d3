"""Graph passes: one file each, named like its key in a recipe."""
