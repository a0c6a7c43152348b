"""Detect events (a run finished, failed, stalled) and run the user's command for each."""
