"""Scores, decisions, files, report and API."""
