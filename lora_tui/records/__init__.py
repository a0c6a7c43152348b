"""Typed records of what a job writes (rows, documents, updates): plain data that every other package shares."""
