"""Inherited functions with code of their own."""

from __future__ import annotations

from agent.protocols.ssh.adapted import own_code


class Base:
    def who(self) -> str:
        return "base"


class Middle(Base):
    def who(self, again: int = 1, *, mark: str = "!") -> str:
        """Tell."""
        return f"{super().who()} {type(self).__name__}{mark * again}"


class One(Middle):
    pass


class Two(Middle):
    pass


def test_each_has_its_own_code_and_does_the_same() -> None:
    for cls in (One, Two):
        own_code(cls, "who")
    assert len({id(cls.who.__code__) for cls in (Middle, One, Two)}) == 3
    assert [cls().who() for cls in (One, Two)] == ["base One!", "base Two!"]
    assert One().who(2, mark="?") == "base One??"
    assert One.who.__doc__ == "Tell."
