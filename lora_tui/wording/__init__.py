"""Turn values, findings and ratings into text in the language of the reader."""
