"""`python -m worldkv`."""

import sys

from worldkv.cli import main

sys.exit(main())
