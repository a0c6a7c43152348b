"""Access to the files of a run: listing, reading, change events, mounts that may hang."""
