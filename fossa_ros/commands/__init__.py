"""The commands of ``fossa``, one module each: options, calls to the library, and a printed summary."""
