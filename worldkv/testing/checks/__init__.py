"""Register every check of the kit, in the order in which they run and are reported."""
# isort: skip_file

from worldkv.testing.checks import answers as answers
from worldkv.testing.checks import parts as parts
from worldkv.testing.checks import keeps as keeps
from worldkv.testing.checks import promises as promises
from worldkv.testing.checks import signals as signals
from worldkv.testing.checks import purity as purity
from worldkv.testing.checks import ledgers as ledgers
from worldkv.testing.checks import going_back as going_back
from worldkv.testing.checks import symmetry as symmetry
from worldkv.testing.checks import extremes as extremes
from worldkv.testing.checks import cost as cost
