"""Tables in parts: sources, windows, who works on the parts, and where the columns of their rows go."""
