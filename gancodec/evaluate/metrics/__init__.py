"""Figures of decoded pictures: of one picture, and of whole sets."""
