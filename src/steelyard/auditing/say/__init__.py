"""Decisions that the record states in words: each is made once, from figures alone."""
