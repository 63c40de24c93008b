"""Models that run on the cache through the interface a user's own model calls."""

from worldkv.backends.models.dit import CausalVideoDiT as CausalVideoDiT
from worldkv.backends.models.dit import generate_chunk as generate_chunk
from worldkv.backends.models.dit import noise_for as noise_for
from worldkv.backends.models.painter import Painter as Painter
from worldkv.backends.models.trained import MemoryGap as MemoryGap
from worldkv.backends.models.trained import TrainedConfig as TrainedConfig
from worldkv.backends.models.trained import TrainedPainter as TrainedPainter
from worldkv.backends.models.trained import TrainedWorld as TrainedWorld
from worldkv.backends.models.trained import memory_gap as memory_gap
from worldkv.backends.models.trained import trained_world as trained_world
from worldkv.backends.models.trained import training_record as training_record
