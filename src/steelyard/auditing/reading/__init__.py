"""What the first step is made of: sources, columns, the target, windows, profiles, triage."""
