"""What a picture file says of itself, asked of the file: facts that Pillow hides, changes or drops. Standard library
only."""
