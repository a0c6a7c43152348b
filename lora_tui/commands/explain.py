"""``explain``: what a metric or a finding means."""

from __future__ import annotations

import argparse


def main(args: argparse.Namespace) -> int:
    """The command."""
    raise NotImplementedError
