"""Text for terminals and files: cell widths, harmless text, number formats, atomic writes."""
