"""The commands without the app, one module each: the same runs and judgements, as text and as JSON."""
