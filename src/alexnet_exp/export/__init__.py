"""A trained network for other programs: one file for each kind of format."""
