"""Parse the expressions of --filter and --until, and look up the fields of a run that they name."""
