"""Measure how often the findings and forecasts are right, on simulated and on real runs: ``make judge``."""
