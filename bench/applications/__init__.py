"""The systems built from the library, against what their papers claim."""
