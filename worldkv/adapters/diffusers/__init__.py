"""Models of diffusers under a WorldCache: Wan, AnyFlow-FAR and SANA-WM's refiner."""

from worldkv.adapters.diffusers.anyflow_far import apply_worldkv_far as apply_worldkv_far
from worldkv.adapters.diffusers.apply import BRANCHES as BRANCHES
from worldkv.adapters.diffusers.apply import apply_worldkv as apply_worldkv
from worldkv.adapters.diffusers.attachment import Attachment as Attachment
from worldkv.adapters.diffusers.geometry import geometry_of as geometry_of
from worldkv.adapters.diffusers.sana_wm import RefinerCache as RefinerCache
