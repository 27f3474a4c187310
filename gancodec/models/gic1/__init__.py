"""The tunable model of this package, the default: the source paper's parts with the best known techniques."""
