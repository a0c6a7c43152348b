"""Parsers that turn bytes into records: one module per kind of file, for every known version, tolerant of damage."""
