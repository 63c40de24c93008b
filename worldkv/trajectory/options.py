"""Parse the parameters of scripts and generators, `key=value,key=value`."""

from __future__ import annotations

from worldkv.errors import SpecError, did_you_mean

Number = int | float


def parse_options(text: str, kinds: dict[str, type[Number]], what: str) -> dict[str, Number]:
    """The typed values of `key=value,key=value`.

    Args:
        text: what the user typed; empty for none.
        kinds: `int`, `float` or `bool` by parameter name.
        what: for messages, e.g. `generate:tour`.

    Raises:
        SpecError: no `=`, an unknown or repeated name, a value that is no such number.
    """
    values: dict[str, Number] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        name = name.replace("-", "_")
        if not equals:
            raise SpecError(f"{what}: expected name=value, got {part!r}")
        if name not in kinds:
            raise SpecError(f"{what} has no parameter {name!r}; {did_you_mean(name, kinds)}")
        if name in values:
            raise SpecError(f"{what}: {name} is given twice; keep one")
        values[name] = _number(value, kinds[name], f"{what}: {name}")
    return values


def _number(text: str, kind: type[Number], what: str) -> Number:
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise SpecError(f"{what} must be true or false, got {text!r}")
    try:
        return kind(text)
    except ValueError:
        rule = "a whole number" if kind is int else "a number"
        raise SpecError(f"{what} must be {rule}, got {text!r}") from None
