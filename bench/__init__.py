"""Figures: ratios between things measured in one run, never bare times."""
