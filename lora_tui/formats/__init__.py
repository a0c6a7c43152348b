"""Parsers from bytes to records: one module per producer's file, every known version, tolerant of damage."""
