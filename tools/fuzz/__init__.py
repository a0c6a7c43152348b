"""Coverage-guided fuzzing of everything that reads files or texts from outside: ``make fuzz ARGS="--seconds 600"``.

``targets.py`` checks properties that must hold for any bytes, ``worker.py`` runs one target under atheris (libFuzzer
for Python), ``__main__.py`` all of them one after the other. With ``--keep`` it then saves the inputs that reach the
most code with the fewest bytes in ``corpus/``; ``tests/formats/test_fuzz_corpus.py`` replays them in every test run.
Findings are in RESULTS.md.
"""
