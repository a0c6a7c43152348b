"""Tools for developers: the bench, the judge of findings, the fuzzer, mutation testing."""
