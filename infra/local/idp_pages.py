"""The pages of the development identity provider: plain HTML, no scripts, light and dark."""

from html import escape
from typing import Protocol

TITLE = "Sallyport development sign-in"

_STYLE = """
:root{color-scheme:light dark;--back:#f4f5f2;--card:#fff;--ink:#1d2320;--soft:#5d6862;--line:#dde2dc;--accent:#1f6f54;
--warn:#7a5200;--warn-back:#fff4d9}
@media(prefers-color-scheme:dark){:root{--back:#12161a;--card:#1b2126;--ink:#e7ebe8;--soft:#98a39d;--line:#2d353b;
--accent:#6cc5a1;--warn:#f2cf83;--warn-back:#332a14}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--back);color:var(--ink);
font:1rem/1.5 system-ui,sans-serif}
main{width:100%;max-width:26rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1.75rem}
h1{margin:0 0 .25rem;font-size:1.25rem}
p{margin:.25rem 0 1rem;color:var(--soft)}
.note{background:var(--warn-back);color:var(--warn);border-radius:.5rem;padding:.6rem .8rem;font-size:.9rem}
ul{list-style:none;margin:0;padding:0;display:grid;gap:.5rem}
button,.person{display:block;width:100%;text-align:left;font:inherit;color:inherit;background:transparent;
border:1px solid var(--line);border-radius:.5rem;padding:.65rem .9rem}
button{cursor:pointer}
button:hover,button:focus-visible{border-color:var(--accent);outline:2px solid var(--accent);outline-offset:1px}
strong{font-weight:600}
small{display:block;color:var(--soft)}
"""

_NOTE = "For development only. Anybody who can open this page can be anybody on it: there are no passwords."


class Listed(Protocol):
    """What the pages say about a person."""

    @property
    def username(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def email(self) -> str: ...
    @property
    def groups(self) -> tuple[str, ...]: ...


def sign_in(people: list[Listed], asked: dict[str, str], destination: str) -> str:
    """One button per person; pressing it repeats the authorization request `asked` with that person chosen."""
    kept = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in asked.items()
        if name not in ("login_hint", "prompt")
    )
    buttons = "".join(
        f'<li><button name="login_hint" value="{escape(person.username)}">{_summary(person)}</button></li>' for person in people
    )
    return _layout(
        f'<h1>Sign in as</h1><p>to continue to {escape(destination)}</p><p class="note">{_NOTE}</p>'
        f'<form method="post" action="/authorize">{kept}<ul>{buttons}</ul></form>'
    )


def welcome(people: list[Listed]) -> str:
    """What a person sees who opens the provider's address itself."""
    rows = "".join(f'<li class="person">{_summary(person)}</li>' for person in people)
    return _layout(f'<h1>{TITLE}</h1><p>Sign-ins start at the application.</p><p class="note">{_NOTE}</p><ul>{rows}</ul>')


def problem(sentence: str) -> str:
    """A request that cannot be answered by going back to the application."""
    return _layout(f'<h1>{TITLE}</h1><p role="alert">{escape(sentence)}</p><p class="note">{_NOTE}</p>')


def _summary(person: Listed) -> str:
    groups = ", ".join(person.groups) or "no groups"
    return f"<strong>{escape(person.name)}</strong><small>{escape(person.email)} · {escape(groups)}</small>"


def _layout(content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{TITLE}</title><style>{_STYLE}</style></head><body><main>{content}</main></body></html>"
    )
