"""A toy codec of the second kind: two grids of latents of different strides and a map of classes.

It is what a learned codec has to be, one folder and four entries (`entries`), as small as it gets and with nothing but
seeded weights.
"""
