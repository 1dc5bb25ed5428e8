"""Errors that a user can fix; each message is one sentence that names what to change."""


class FossaError(Exception):
    """Base of all errors that are reported as a sentence instead of a traceback."""


class InputError(FossaError):
    """A file, stack, message or parameter value that cannot be used as it is."""


class RefusedStack(InputError):
    """A stack that contradicts what is said of it; ``predict`` lets it pass with ``focus_check=False``."""


class LensError(FossaError):
    """A lens that is absent, does not answer, or violates its protocol."""
