"""The record of natural shifts: do the audit's intervals hold where the world itself moved the data?"""
