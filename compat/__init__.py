"""How VEO gets on with daemons that nobody here wrote: `make compat`."""
