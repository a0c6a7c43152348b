"""Screens that open over the dashboard: help, explanations, the report."""
