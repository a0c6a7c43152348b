"""Statistical detectors on curves that the findings are built on."""
