class UserError(Exception):
    """Something the person at the terminal can put right; shown as one line, exit status 2."""


class SolveError(Exception):
    """A solve that did not reach its tolerance; shown as one line, exit status 1."""
