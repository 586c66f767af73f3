"""`python -m everfresh` is the command `everfresh`."""

from everfresh.cli import main

if __name__ == "__main__":
    main()
