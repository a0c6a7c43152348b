"""Mutation testing of the data of a run and of the ratings: ``make mutants``.

mutmut makes the mutants of functions: in a copy of the package, each function chooses among its mutants by an
environment variable. ``source.py`` makes that copy; ``table.py`` makes mutants of data: the thresholds, stages and
words of the rules. ``loop.py`` tries each mutant in a fork of one pytest process that has already collected its tests,
with only those tests that execute the changed line: ten mutants a second, where mutmut's own loop, with a pytest
process for each, tried three. ``__main__.py`` prints which mutants survived. RESULTS.md has the results.
"""
