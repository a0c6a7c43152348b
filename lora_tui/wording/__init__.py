"""Turn values, findings and ratings into words in the language of the reader."""
