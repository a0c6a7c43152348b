"""Typed records of the files of a job: rows, documents and updates, as the packages pass them to each other."""
