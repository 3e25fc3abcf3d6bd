"""`python -m astrosurvey`: the command line, for where only the Python is known."""

from .cli import main

if __name__ == "__main__":
    main()
