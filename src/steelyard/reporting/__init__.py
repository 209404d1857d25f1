"""Pages, files and terminal summaries of an audit, from the content of its ``audit.json`` alone."""

from steelyard.reporting.files import mend_report, save_report, whole_file
from steelyard.reporting.places import place_faults
from steelyard.reporting.rendering import render_html
from steelyard.reporting.terminal import summary

__all__ = ["mend_report", "place_faults", "render_html", "save_report", "summary", "whole_file"]
