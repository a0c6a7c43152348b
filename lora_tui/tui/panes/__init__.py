"""The panes of the overview page, each with the functions that build its lines."""
