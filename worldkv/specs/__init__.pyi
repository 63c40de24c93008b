# The public names of spec strings; worldkv/specs/__init__.py reads this list and imports each on first use.
from worldkv.specs.names import policy_classes as policy_classes
from worldkv.specs.parse import parameters as parameters
from worldkv.specs.parse import parse_geometry as parse_geometry
from worldkv.specs.parse import parse_part as parse_part
from worldkv.specs.parse import parse_policy as parse_policy
from worldkv.specs.parse import spec_of as spec_of
from worldkv.specs.parse import split_spec as split_spec
from worldkv.specs.sizes import parse_size as parse_size
