"""The pure core: no I/O, clocks, randomness or logging. Events in, commands out."""
