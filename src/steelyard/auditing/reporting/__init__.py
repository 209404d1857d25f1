"""What the last step is made of: wording, figures, the page, the terminal, conditions that fail a build."""
