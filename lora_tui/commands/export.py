"""``export``: all series of a run as a table."""

from __future__ import annotations

import argparse


def main(args: argparse.Namespace) -> int:
    """The command."""
    raise NotImplementedError
