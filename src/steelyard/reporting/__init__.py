"""Pages, files and terminal summaries of an audit, from the content of its ``audit.json`` alone."""

from steelyard.reporting.files import place_faults, save_report, whole_file
from steelyard.reporting.rendering import render_html
from steelyard.reporting.terminal import summary

__all__ = ["place_faults", "render_html", "save_report", "summary", "whole_file"]
