"""The models of codec 6: a dense sender, integer rows from one projection, small means, a light receiver, slices."""
