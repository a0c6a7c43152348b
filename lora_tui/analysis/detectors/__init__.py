"""Statistical detectors of changes in curves, used by the findings."""
