"""The split codec of the context-aware paper, section 4: salient cells kept, the rest shrunk."""
