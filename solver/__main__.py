"""`python -m solver` is `tinyarc`."""

import sys

from solver.cli import main

sys.exit(main())
