"""The page that a browser shows at the end of a login: one sentence, in the browser's own light or dark, without scripts."""

from __future__ import annotations

from html import escape
from typing import Final

#: Sent with the page: nothing may be loaded, run, framed or kept.
HEADERS: Final[dict[str, str]] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}

_STYLE: Final = """
:root { color-scheme: light dark; --paper: #f6f5f2; --card: #fff; --ink: #1c1d20; --soft: #63666d; --line: #e2e0da;
  --mark: #1f7a4d }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15171a; --card: #1d2024; --ink: #eceae5; --soft: #a0a3a9; --line: #30343a; --mark: #5cc38f }
}
.bad { --mark: #c2402c }
@media (prefers-color-scheme: dark) { .bad { --mark: #ee8070 } }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif }
main { max-width: 26rem; margin: 1rem; padding: 2.2rem 2.4rem; background: var(--card); border: 1px solid var(--line);
  border-top: 4px solid var(--mark); border-radius: 10px }
h1 { margin: 0 0 .5rem; font-size: 1.35rem; font-weight: 650 }
p { margin: 0; color: var(--soft) }
small { display: block; margin-top: 1.6rem; color: var(--soft); letter-spacing: .04em }
"""


def page(title: str, sentence: str, *, good: bool = True) -> str:
    """Return the whole HTML document."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · Sallyport</title><style>{_STYLE}</style></head>"
        f'<body class="{"good" if good else "bad"}"><main role="{"status" if good else "alert"}">'
        f"<h1>{escape(title)}</h1><p>{escape(sentence)}</p><small>Sallyport</small></main></body></html>"
    )
