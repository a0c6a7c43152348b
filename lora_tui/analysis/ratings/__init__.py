"""Rate metrics against the rules, the run's own past and its siblings."""
