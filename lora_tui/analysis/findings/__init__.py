"""The findings, one module per subject."""
