"""``compare``: runs side by side."""

from __future__ import annotations

import argparse


def main(args: argparse.Namespace) -> int:
    """The command."""
    raise NotImplementedError
