"""The command line: one file per command; parse, call, print. PyTorch is imported only by the work itself."""
