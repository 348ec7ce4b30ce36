"""The shells of one terminal, each started at the prompt of the one around it, and which of them is spoken with. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agent.core.shell.guard import boot
from agent.core.shell.guard.launch import Launch
from agent.core.shell.guard.layer import Layer
from agent.core.shell.guard.marks import Splitter

_NONCE_LIMIT: Final = 64
#: Shells that are remembered, stopped ones among them.
_KNOWN: Final = 32


class Nest:
    """Knows each shell by its nonce. ``top`` is the one that has the terminal; only marks of known shells are marks."""

    def __init__(self, nonce: str, mint: Callable[[], str], marks: Splitter) -> None:
        """``mint`` makes the nonces of further shells. Nonces are made of letters and digits, and guessed by nobody."""
        self.top = Layer(_plain(nonce), muted=True)
        self._fresh: Final = mint
        self._layers: Final = {nonce: self.top}
        self._nonces: Final = marks.nonces
        self._nonces.update({nonce, boot.NAME})
        self._word = boot.WORD

    def __getitem__(self, nonce: str) -> Layer:
        return self._layers[nonce]

    @property
    def nonces(self) -> set[str]:
        """Of all that are known."""
        return set(self._layers)

    def word(self) -> str:
        """Return what the second half of the next start begins with."""
        self._word = self._fresh()
        return self._word

    def booted(self) -> None:
        """The first half of a start has spoken: whatever else has its name is not ours."""
        self._nonces.discard(boot.NAME)

    def start(self, launch: Launch) -> Layer:
        """Put a shell that ``launch`` starts into the one that has the terminal, and return it."""
        outer = self.top
        by = outer.launched.text if outer.launched else ""
        inner = Layer(_plain(self._fresh()), outer=outer, by=by, word=self._word, login=launch.login)
        self._layers[inner.nonce] = self.top = inner
        self._nonces.update({inner.nonce, boot.NAME})
        self._forget()
        return inner

    def turn(self, layer: Layer, *, ready: bool) -> None:
        """``layer`` has the terminal. One that was still being started, not ``ready``, is forgotten."""
        if not ready:
            self._nonces.difference_update({boot.NAME, self.top.nonce})
            del self._layers[self.top.nonce]
        self.top = layer

    def _forget(self) -> None:
        """Remember no more than so many shells, and those around the one that we speak with."""
        around = self.top.chain
        for nonce in [nonce for nonce, each in self._layers.items() if each not in around][: len(self._layers) - _KNOWN]:
            del self._layers[nonce]
            self._nonces.discard(nonce)


def _plain(nonce: str) -> str:
    if not (nonce.isascii() and nonce.isalnum() and 16 <= len(nonce) <= _NONCE_LIMIT):
        raise ValueError("a nonce is 16 to 64 letters and digits")
    return nonce
