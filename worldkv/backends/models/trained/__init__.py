"""A world model with trained weights, its weights, and what trains them."""

from worldkv.backends.models.trained.config import TrainedConfig as TrainedConfig
from worldkv.backends.models.trained.memory_gap import MemoryGap as MemoryGap
from worldkv.backends.models.trained.memory_gap import memory_gap as memory_gap
from worldkv.backends.models.trained.model import TrainedWorld as TrainedWorld
from worldkv.backends.models.trained.painter import TrainedPainter as TrainedPainter
from worldkv.backends.models.trained.painter import check_trained_shape as check_trained_shape
from worldkv.backends.models.trained.shipped import trained_world as trained_world
from worldkv.backends.models.trained.shipped import training_record as training_record
