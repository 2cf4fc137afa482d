"""`python -m service` is `weir`."""

from service.cli import main

if __name__ == "__main__":
    main()
