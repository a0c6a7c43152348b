"""The command line: parser, entry point and commands."""
