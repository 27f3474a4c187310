"""Training: data, losses, one plain loop, recipes, and the export that freezes a model into integer tables and
weights."""
