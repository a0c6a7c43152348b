"""The pages that a number key opens, one module each."""
