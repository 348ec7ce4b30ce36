"""Code that the interpreter adapts to one class.

CPython adapts a function's instructions to the types that it meets there (PEP 659). What two classes inherit has one code, so
that a key, which goes through a client's leg and a target's in turn, would undo at each step what the last one did.
"""

from __future__ import annotations

from types import FunctionType


def own_code(cls: type, *names: str) -> None:
    """Give ``cls`` copies of the functions ``names`` that it inherits, each with code of its own."""
    for name in names:
        inherited = getattr(cls, name)
        assert isinstance(inherited, FunctionType)
        code = inherited.__code__.replace()
        copy = FunctionType(code, inherited.__globals__, name, inherited.__defaults__, inherited.__closure__)
        copy.__kwdefaults__, copy.__doc__ = inherited.__kwdefaults__, inherited.__doc__
        copy.__qualname__, copy.__annotations__ = f"{cls.__qualname__}.{name}", inherited.__annotations__
        setattr(cls, name, copy)
