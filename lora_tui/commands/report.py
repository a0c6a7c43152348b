"""``report``: an analysis of one run as a box, Markdown, HTML or JSON."""

from __future__ import annotations

import argparse


def main(args: argparse.Namespace) -> int:
    """The command."""
    raise NotImplementedError
