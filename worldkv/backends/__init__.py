"""The torch executor: the cache a model calls, the backend behind it, and a model to run it in."""

from worldkv.backends.attention import attend as attend
from worldkv.backends.cache import WorldCache as WorldCache
from worldkv.backends.calibrate import warm_up as warm_up
from worldkv.backends.rollout import TimedStep as TimedStep
from worldkv.backends.rollout import generate as generate
from worldkv.backends.rollout import roll_out as roll_out
from worldkv.backends.rotary import Rotary as Rotary
from worldkv.backends.torch_backend import TorchBackend as TorchBackend
