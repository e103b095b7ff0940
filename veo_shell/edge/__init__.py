"""The edges: each file adapts one outside thing to one protocol and decides nothing."""
