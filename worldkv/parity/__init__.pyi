# The public names of parity; worldkv/parity/__init__.py reads this list and imports each on first use.
from worldkv.parity.record import Difference as Difference
from worldkv.parity.record import ExecutedStep as ExecutedStep
from worldkv.parity.run import Parity as Parity
from worldkv.parity.run import attention_of_full_kv as attention_of_full_kv
from worldkv.parity.run import run_both as run_both
