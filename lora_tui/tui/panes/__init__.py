"""The panes of the overview, each with the functions that build its lines."""
