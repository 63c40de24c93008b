"""Trajectories: recorded formats, action scripts, generators, and their cutting into chunks."""

from worldkv.trajectory.anomalies import RotationJump as RotationJump
from worldkv.trajectory.axes import AXES as AXES
from worldkv.trajectory.axes import axes_words as axes_words
from worldkv.trajectory.chunked import ChunkedTrajectory as ChunkedTrajectory
from worldkv.trajectory.cut import cut as cut
from worldkv.trajectory.dead_reckoning import dead_reckon as dead_reckon
from worldkv.trajectory.describe import PathSummary as PathSummary
from worldkv.trajectory.describe import describe as describe
from worldkv.trajectory.format_spec import LENGTHS as LENGTHS
from worldkv.trajectory.format_spec import TIMES as TIMES
from worldkv.trajectory.formats.recorded import RecordedSignals as RecordedSignals
from worldkv.trajectory.formats.registry import FORMATS as FORMATS
from worldkv.trajectory.generate import generate as generate
from worldkv.trajectory.generators import GENERATORS as GENERATORS
from worldkv.trajectory.load import load_trajectory as load_trajectory
from worldkv.trajectory.noise import with_pose_noise as with_pose_noise
from worldkv.trajectory.read_as import DIRECTIONS as DIRECTIONS
from worldkv.trajectory.read_as import ReadAs as ReadAs
from worldkv.trajectory.resample import resample as resample
from worldkv.trajectory.script import script as script
from worldkv.trajectory.trajectory import DEFAULT_FIELD_OF_VIEW as DEFAULT_FIELD_OF_VIEW
from worldkv.trajectory.trajectory import Trajectory as Trajectory
