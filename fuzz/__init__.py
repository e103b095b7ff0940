"""Whatever bytes come to a node's DNS: what has to hold, and who looks for more."""
