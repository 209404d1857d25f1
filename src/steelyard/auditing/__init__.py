"""The main job: compare TRAIN with LIVE, estimate, explain, certify, advise, report."""

from steelyard.auditing.pipeline import audit
from steelyard.auditing.result import AuditResult

__all__ = ["AuditResult", "audit"]
