"""What a codec did where in a picture, as maps and a sheet of them."""
