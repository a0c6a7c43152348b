"""What is specific to a real terminal: the driver, its output, slow lines, patches of Textual."""
