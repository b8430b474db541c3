"""`python -m asrkit` is `asrkit`."""

from asrkit.cli import main

if __name__ == "__main__":
    main()
