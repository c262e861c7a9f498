"""Systems built from the library: models, and what is done with them. Import the one you need."""
