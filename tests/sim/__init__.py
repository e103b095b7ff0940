"""A deterministic simulation of whole clusters: `python -m tests.sim SEED` replays one.

Real cores (`veo_shell.core.machine`) run on simulated networks, engines, disks and one
virtual clock. A seed makes a history of operators' calls and faults (`plan`), which is
run (`history`) and checked all along (`watch`) and at its end (`verdict`).
"""
