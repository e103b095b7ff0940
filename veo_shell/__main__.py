"""`python -m veo_shell` is `veo`."""

from veo_shell.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
