"""What a reference profile is made of: its file, how it is made from TRAIN, how an audit uses it."""
