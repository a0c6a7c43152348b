"""The panes, each with the functions that make its lines."""
