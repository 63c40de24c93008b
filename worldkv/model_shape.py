"""The shape of the one model that a file of weights or directions was made for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.policy import Part


@dataclass(frozen=True)
class ModelShape:
    """What a part is bound to of a model's shape; None where any number will do. Source: this project.

    Attributes:
        layers: transformer layers.
        kv_heads: key/value heads a layer.
        head_dim: channels a head.
        hidden_channels: channels of a token's hidden state.
    """

    layers: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    hidden_channels: int | None = None

    def joined(self, other: ModelShape) -> ModelShape:
        """What is bound to both.

        Raises:
            SpecError: they are of different models.
        """
        numbers = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, number in numbers.items():
            another = getattr(other, name)
            if None not in (number, another) and number != another:
                raise SpecError(
                    f"the policy's files are of different models: {name} is {number} in one and {another} in another; "
                    "take files of one model"
                )
            numbers[name] = another if number is None else number
        return ModelShape(**numbers)

    def of(self, geometry: CacheGeometry) -> CacheGeometry:
        """`geometry` with this model's layers, heads and channels, as many query heads to a KV head as before."""
        layers, kv_heads = self.layers or geometry.layers, self.kv_heads or geometry.kv_heads
        head_dim = self.head_dim or geometry.head_dim
        if (layers, kv_heads, head_dim) == (geometry.layers, geometry.kv_heads, geometry.head_dim):
            return geometry
        heads = kv_heads * (geometry.heads // geometry.kv_heads)
        name = f"{geometry.name}, {layers} x {kv_heads} x {head_dim}"
        return dataclasses.replace(
            geometry, layers=layers, heads=heads, kv_heads=kv_heads, head_dim=head_dim, name=name
        )


def shape_of(part: Part) -> ModelShape:
    """What a part and everything in it are bound to.

    Raises:
        SpecError: they are bound to different models.
    """
    shape = part.bound_to or ModelShape()
    for inner in part.parts():
        shape = shape.joined(shape_of(inner))
    return shape
