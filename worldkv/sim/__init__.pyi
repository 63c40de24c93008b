# The public names of the simulator; worldkv/sim/__init__.py reads this list and imports each on first use.
from worldkv.sim.backend import SimBackend as SimBackend
from worldkv.sim.candidate import Candidate as Candidate
from worldkv.sim.clock import Clock as Clock
from worldkv.sim.clock import StepTime as StepTime
from worldkv.sim.compare import ComparedRows as ComparedRows
from worldkv.sim.compare import ComparisonSetup as ComparisonSetup
from worldkv.sim.compare import Row as Row
from worldkv.sim.compare import compare_candidates as compare_candidates
from worldkv.sim.machine import Edge as Edge
from worldkv.sim.machine import Machine as Machine
from worldkv.sim.machine import load_machine as load_machine
from worldkv.sim.machine import machine_names as machine_names
from worldkv.sim.recorder import SignalRecorder as SignalRecorder
from worldkv.sim.recorder import needs_model as needs_model
from worldkv.sim.rollout import RolloutRecord as RolloutRecord
from worldkv.sim.rollout import RolloutRecorder as RolloutRecorder
from worldkv.sim.rollout import simulate as simulate
