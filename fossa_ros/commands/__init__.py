"""The commands of ``fossa``, one module each: options, calls into the library, and a summary."""
