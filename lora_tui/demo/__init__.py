"""The packaged sample runs, and the process that replays them live."""
