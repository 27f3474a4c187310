"""How gic1 is trained, and frozen into integers."""
