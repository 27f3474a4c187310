"""The source paper's model as printed: Wu, Huang and Shen, "A GAN-based Tunable Image Compression System"."""
