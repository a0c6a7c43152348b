"""The parser of console logs, one module per part of a log."""
