"""Rate the numbers of a run, one module for each group of metrics."""
