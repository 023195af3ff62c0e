"""``python -m gameserver`` is the command line."""

from gameserver.cli import main

if __name__ == "__main__":
    main()
