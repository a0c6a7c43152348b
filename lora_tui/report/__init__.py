"""Build a versioned document from a run and its judgement, and render it for people and programs."""
