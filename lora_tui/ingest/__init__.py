"""Find runs in directory trees, decide which files belong to them, and read what is appended to those files."""
