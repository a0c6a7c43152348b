"""Measurements of the whole program."""
