"""The command line, ``python -m sparsejax``. Private: its interface is the terminal."""
