"""Ask a compression: the real choice where there are keys, else its closed form or a recording."""

from __future__ import annotations

from worldkv.answers import Keep, RaggedKeep
from worldkv.errors import SignalError
from worldkv.policy import Compression
from worldkv.views import ChunkView


def compressed(rule: Compression, chunk: ChunkView) -> Keep | RaggedKeep:
    """What `rule` keeps of `chunk`: the real choice where there are keys, else the closed form or the recording.

    Raises:
        SignalError: the count depends on keys and there are neither keys nor a recording.
    """
    if chunk.keys is not None:
        return rule.keep(chunk)
    if not rule.data_dependent:
        return rule.kept_tokens(chunk)
    return replayed(chunk, type(rule).__name__)


def replayed(chunk: ChunkView, part_name: str) -> Keep:
    """What a recorded run kept of `chunk`, spread evenly over its latent frames; at least one token.

    Raises:
        SignalError: there is no recording; the sentence names `part_name`.
    """
    if chunk.recorded_tokens is None:
        raise SignalError(
            f"{part_name} keeps a number of tokens that depends on real keys; "
            "give the simulator a recorded run, or use the torch backend"
        )
    share = chunk.recorded_tokens / chunk.tokens
    return Keep(chunk.recorded_tokens, tuple(tokens * share for tokens in chunk.frame_tokens))
