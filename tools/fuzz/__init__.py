"""Coverage-guided fuzzing of everything that reads what somebody else wrote: ``make fuzz ARGS="--seconds 600"``.

``targets.py`` says what must hold for any bytes, ``worker.py`` runs one of them under atheris (libFuzzer for Python),
``__main__.py`` all of them one after the other; it then keeps the inputs that reach the most code with the fewest bytes
in ``corpus/``, which ``test_corpus.py`` replays in every test run. What was found is in RESULTS.md.
"""
