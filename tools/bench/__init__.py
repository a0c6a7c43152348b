"""Measure speed and memory of the whole program: ``make bench``, ``bench-rivals``, ``bench-training``, ``soak``."""
