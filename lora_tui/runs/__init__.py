"""The data of one run, values derived from it, and the list of all runs. No module reads the disk or the clock."""
