"""What is known of one run, and the list of all runs. Never reads the disk or the clock."""
