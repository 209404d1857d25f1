"""From sums of all rows to the records of the answer; nothing here fits a model or looks at a row."""
