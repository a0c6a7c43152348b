"""Typed records of what a job writes: rows, documents and updates. Plain data that the packages pass to each other."""
