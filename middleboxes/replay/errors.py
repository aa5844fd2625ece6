"""What can be wrong with a bundle."""


class BundleError(ValueError):
    """A bundle that can't be read or written: damaged, cut off, of another version, too large, or contradicting itself."""
