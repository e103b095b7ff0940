"""VEO: a masterless Docker cluster with DNS built in, driven from a live console."""

__version__ = "0.1.0"
