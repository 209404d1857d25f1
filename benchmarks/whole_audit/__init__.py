"""Whole audits of the same tables by several packages, and the parts that compare one to one."""
