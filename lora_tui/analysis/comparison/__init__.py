"""Compare runs: their measures, their options, and whether the comparison is fair."""
