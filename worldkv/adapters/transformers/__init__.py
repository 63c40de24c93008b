"""Language models of transformers under worldkv's policies."""

from worldkv.adapters.transformers.cache import PolicyCache as PolicyCache
from worldkv.adapters.transformers.cache import forward_in_chunks as forward_in_chunks
from worldkv.adapters.transformers.cache import open_cache as open_cache
from worldkv.adapters.transformers.model_shape import geometry_of as geometry_of
