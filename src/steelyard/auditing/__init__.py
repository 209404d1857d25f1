"""The main job: compare TRAIN with LIVE, estimate, explain, certify, advise, report."""

from steelyard.auditing.pipeline import audit
from steelyard.auditing.profiles.make import profile
from steelyard.auditing.profiles.reference import Reference, load_reference
from steelyard.auditing.result import AuditResult

__all__ = ["AuditResult", "Reference", "audit", "load_reference", "profile"]
