"""Several real hosts on one machine."""
