# The public names of the metrics; worldkv/metrics/__init__.py reads this list and imports each on first use.
from worldkv.metrics.attention_recall import AttentionRecallMeter as AttentionRecallMeter
from worldkv.metrics.landmarks import Landmarks as Landmarks
from worldkv.metrics.landmarks import place_landmarks as place_landmarks
from worldkv.metrics.recall import PrecisionMeter as PrecisionMeter
from worldkv.metrics.recall import RecallMeter as RecallMeter
from worldkv.metrics.set_cover import greedy_cover as greedy_cover
