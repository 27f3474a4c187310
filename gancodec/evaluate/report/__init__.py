"""What readers get of an evaluation: tables, plots, files, Markdown and one HTML page."""
