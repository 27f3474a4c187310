"""Models: tensor to tensor. Nothing here knows files or bytes."""
