"""``python -m mmapkit``: the command line."""

import sys

from mmapkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
