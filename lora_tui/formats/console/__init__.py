"""The parser of console logs, with one module per aspect of a log."""
