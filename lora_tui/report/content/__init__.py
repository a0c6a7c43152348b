"""Collect the facts of a report, section by section, as data without layout."""
