"""Bytes -> typed records: one module per producer's file, every version of it, tolerant of damage."""
