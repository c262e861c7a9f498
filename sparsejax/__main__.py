"""``python -m sparsejax``: see ``--help``."""

import sys

from sparsejax._cli._main import main

if __name__ == "__main__":
    sys.exit(main())
