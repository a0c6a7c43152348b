"""Compare runs: metrics, configuration, and whether the comparison is fair."""
