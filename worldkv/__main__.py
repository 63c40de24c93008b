"""`python -m worldkv`, which says what is missing where worldkv itself was not installed."""

import sys

from worldkv.experiments.gpu_check.packages import NEEDED, install_line, missing

if absent := missing(NEEDED):
    print(f"worldkv: needs {', '.join(absent)}, which this Python has not got; {install_line(absent)}", file=sys.stderr)
    sys.exit(2)

from worldkv.cli import main  # noqa: E402 - it imports what may be missing

sys.exit(main())
