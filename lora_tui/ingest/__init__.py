"""Find runs in directory trees, decide which files belong to them, and follow what those files gain."""
