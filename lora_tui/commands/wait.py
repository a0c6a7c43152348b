"""``wait``: until runs have ended or a condition holds."""

from __future__ import annotations

import argparse


def main(args: argparse.Namespace) -> int:
    """The command."""
    raise NotImplementedError
