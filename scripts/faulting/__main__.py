"""``python -m scripts.faulting``: the campaign's command line."""

import sys

from scripts.faulting.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
