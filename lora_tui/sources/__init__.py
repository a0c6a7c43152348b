"""Access to the files of runs: listings, reading, file events, and mounts that may stop answering."""
