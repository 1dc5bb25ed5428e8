"""Failures that a user can mend: each message is one sentence that names what to change."""


class FossaError(Exception):
    """Base of every failure that is reported as a sentence rather than a traceback."""


class InputError(FossaError):
    """A file, stack, message or parameter value that cannot be used as it is."""


class LensError(FossaError):
    """A lens that is absent, silent, or answers something its protocol does not allow."""
