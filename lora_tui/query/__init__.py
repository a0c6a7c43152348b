"""The expressions of --filter and --until: their parser, and the fields of a run that they can name."""
