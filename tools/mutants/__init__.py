"""Mutation testing of what a run is and how it is rated: ``make mutants``.

mutmut makes the mutants of all functions: a copy of the package in which each function chooses among its mutants by an
environment variable. ``source.py`` makes that copy; ``table.py`` makes mutants of what is data, the bounds, stages and
words of the rules; ``loop.py`` tries each of them in a fork of one pytest that has collected its tests already, with
those tests alone that come by the changed line: ten a second, where mutmut's own loop, a pytest for each, tried three.
``__main__.py`` tells what survived. RESULTS.md: what came of it.
"""
