"""Ratings of the numbers of a run; each module rates one group of metrics."""
