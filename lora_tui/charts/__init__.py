"""Charts as grids of characters, for the app and for reports: data, axes, canvas, drawing."""
