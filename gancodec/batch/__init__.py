"""Many inputs: one job function (`job.run`), run here, in worker processes (`local`) or on a Ray cluster (`ray`), and
the manifest that says what was done. Importing it loads neither the codec nor Ray."""
