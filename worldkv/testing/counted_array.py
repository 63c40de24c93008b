"""Count the array elements that numpy touches, so that quadratic work shows without a clock."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class Tally:
    """A number that arrays add to.

    Attributes:
        elements: elements read or made so far.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.elements = 0

    def add(self, *values: Any) -> None:
        """Count the elements of every array in `values`, lists and tuples of them included."""
        for value in values:
            if isinstance(value, np.ndarray):
                self.elements += value.size
            elif isinstance(value, tuple | list):
                self.add(*value)


class CountedArray(np.ndarray[Any, Any]):
    """An array, and everything computed from it, that adds what is touched to a tally."""

    tally: Tally

    @classmethod
    def of(cls, array: NDArray[Any], tally: Tally) -> Self:
        """A view of `array` that counts."""
        counted: Self = array.view(cls)
        counted.tally = tally
        return counted

    def __array_finalize__(self, source: Any) -> None:
        """A view or slice counts for the same tally."""
        self.tally = getattr(source, "tally", None) or Tally()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **rest: Any) -> Any:
        """Arithmetic: operands and result count."""
        plain = [_bare(value) for value in inputs]
        if out is not None:
            rest["out"] = tuple(_bare(value) for value in out)
        result = getattr(ufunc, method)(*plain, **{name: _bare(value) for name, value in rest.items()})
        self.tally.add(plain, result)
        return self._wrapped(result)

    def __array_function__(self, function: Any, types: Any, arguments: Any, named: Any) -> Any:
        """Functions of numpy: arrays among the arguments, and the result, count."""
        plain = _bare(list(arguments))
        result = function(*plain, **{name: _bare(value) for name, value in named.items()})
        self.tally.add(plain, result)
        return self._wrapped(result)

    def __getitem__(self, key: Any) -> Any:
        """A slice is free, a copy of picked elements counts."""
        result = super().__getitem__(_bare(key))
        if isinstance(result, np.ndarray) and result.base is None:
            self.tally.add(result)
        return result

    def __contains__(self, value: Any) -> bool:
        """Every element is looked at."""
        self.tally.add(self)
        return value in self.view(np.ndarray)

    def tolist(self) -> Any:
        """Every element becomes an object."""
        self.tally.add(self)
        return self.view(np.ndarray).tolist()

    def argsort(self, *arguments: Any, **named: Any) -> Any:
        """Counted as one look at every element."""
        self.tally.add(self)
        return self._wrapped(self.view(np.ndarray).argsort(*arguments, **named))

    def astype(self, *arguments: Any, **named: Any) -> Any:
        """A copy."""
        self.tally.add(self)
        return self._wrapped(self.view(np.ndarray).astype(*arguments, **named))

    def _wrapped(self, result: Any) -> Any:
        if isinstance(result, tuple | list):
            return type(result)(map(self._wrapped, result)) if type(result) in (tuple, list) else result
        return CountedArray.of(result, self.tally) if type(result) is np.ndarray else result


def _bare(value: Any) -> Any:
    """The same without counting."""
    if isinstance(value, CountedArray):
        return value.view(np.ndarray)
    if type(value) in (tuple, list):
        return type(value)(map(_bare, value))
    return value
