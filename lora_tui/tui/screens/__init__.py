"""Screens over the cockpit: help and explanations."""
