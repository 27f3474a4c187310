"""Measuring codecs: real files, metrics, curves, plots and reports."""
