"""The facts of a report, section by section, as data."""
