"""Models that run on the cache through the interface a user's own model calls."""

from worldkv.backends.models.dit import CausalVideoDiT as CausalVideoDiT
from worldkv.backends.models.dit import generate_chunk as generate_chunk
from worldkv.backends.models.dit import noise_for as noise_for
from worldkv.backends.models.painter import Painter as Painter
