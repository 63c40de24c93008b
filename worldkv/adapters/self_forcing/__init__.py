"""Self-Forcing and its family: Causal-Forcing, LingBot-World-Fast, Matrix-Game-2, minWM, FastVideo.

Their attention keeps its keys and values in one dict a layer, `{k, v, global_end_index, local_end_index}`, with `k` and
`v` of `[B, S, H, D]`. `slots` makes objects that stand for these dicts, so that the model runs unmodified; `install`
puts them into a pipeline. Where a model copies its cache or writes it later (LongLive 2, Rolling Forcing), `patch`
replaces the forward of each attention module instead.
"""

from worldkv.adapters.self_forcing.install import Installed as Installed
from worldkv.adapters.self_forcing.install import install as install
from worldkv.adapters.self_forcing.patch import Patched as Patched
from worldkv.adapters.self_forcing.patch import deferred as deferred
from worldkv.adapters.self_forcing.patch import patch as patch
from worldkv.adapters.self_forcing.slots import Slot as Slot
from worldkv.adapters.self_forcing.slots import slots as slots
from worldkv.adapters.self_forcing.steps import Steps as Steps
