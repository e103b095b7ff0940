"""VEO's tests."""
