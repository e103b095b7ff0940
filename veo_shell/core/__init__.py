"""The pure core: no I/O, no clocks, no randomness, no logging. Events in, commands out."""
