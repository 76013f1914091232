"""Side-by-side measurements: facet's way and the plain way a user would write it, in one run, by ratio."""
