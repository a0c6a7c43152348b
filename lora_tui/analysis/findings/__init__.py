"""Find what is worth knowing about a run, one module for each subject."""
