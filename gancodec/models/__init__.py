"""The models, a folder each, and what they share. `registry` is the one list of them."""
