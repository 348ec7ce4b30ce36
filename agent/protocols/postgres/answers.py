"""The server's side: which answer belongs to which question, masked on its way back. Pure.

Results are masked by where their columns come from (RowDescription, and the lineage of the statement), with detectors behind.
Errors and what comes unasked (``unasked``) are roads back too, so their texts are scrubbed. What was denied was replaced on its
way in by a statement that fails (``refusals``); here its error becomes the gateway's own words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from agent.core.sql.tags import Tagged
from agent.protocols.postgres import messages
from agent.protocols.postgres.codec import Copied, Message, Rows
from agent.protocols.postgres.complaints import about_the_text
from agent.protocols.postgres.describing import reason
from agent.protocols.postgres.expected import Expected, Kind, Portal, Run
from agent.protocols.postgres.kept import ROWS, Kept
from agent.protocols.postgres.masks import CopyMask, Masks, ResultMask
from agent.protocols.postgres.messages import Field, Malformed
from agent.protocols.postgres.shared import Shared
from agent.protocols.postgres.unasked import Unasked
from chalicelib.contracts.faults import Fault

_RESULTS_KEPT: Final = 64
#: No value that a detector finds is an identifier as short as this.
_NAME_ALONE: Final = 16


class Answers:
    """Reads the server's messages. ``receive`` returns what the client is shown; ``done`` are lines for the transcript."""

    def __init__(
        self, shared: Shared, masks: Masks, rows: int = ROWS, *, keep: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        """``rows`` is how many of each result the transcript keeps. ``keep`` takes originals to be sealed, if any are."""
        self._original = keep
        self._shared = shared
        self.keep: Final = rows
        self._masks = masks
        self._unasked = Unasked(shared, masks)
        self._results: dict[bytes | tuple[Field, ...], tuple[Tagged, ResultMask]] = {}
        self._descriptions: dict[bytes, tuple[Field, ...]] = {}
        self._mask: ResultMask | None = None
        self._fields: tuple[Field, ...] = ()
        self._copy_mask: CopyMask | None = None
        self._copy_binary = False
        self._copy_types: tuple[int, ...] = ()
        self._late: list[tuple[frozenset[str], frozenset[str]]] = []
        self._now_ms = 0
        self.done: list[dict[str, Any]] = []
        self._readers = {
            "1": self._complete,
            "2": self._complete,
            "3": self._complete,
            "t": self._parameters,
            "T": self._columns,
            "n": self._columns,
            "C": self._command,
            "I": self._command,
            "s": self._command,
            "E": self._error,
            "N": self._unasked.notice,
            "S": self._unasked.setting,
            "A": self._unasked.notification,
            "Z": self._ready,
            "G": self._copy_in,
            "H": self._copy_out,
            "c": self._copy_done,
        } | self._read_also()

    def _read_also(self) -> dict[str, Callable[[Message], bytes]]:
        """Return what reads further messages, by their type."""
        return {}

    def receive(self, found: list[Message | Rows], now_ms: int) -> bytes:
        """Return what the client is shown of ``found``. Raises Fault(target_protocol) for an answer that nobody asked for."""
        self._now_ms = self._shared.book.now_ms = now_ms
        shown: list[bytes] = []
        try:
            for each in found:
                if isinstance(each, Rows):
                    shown.append(self._copied_rows(each) if isinstance(each, Copied) else self._rows(each))
                else:
                    read = self._readers.get(each.kind)
                    if read is None:
                        raise unexpected(each.kind)
                    shown.append(read(each))
        except Malformed:
            raise Fault("target_protocol", "The target sent a message that cannot be read.") from None
        return b"".join(shown)

    @property
    def idle(self) -> bool:
        """True where no name waits for a Sync that the server swallowed, and no line for the transcript."""
        return not self._late and not self.done

    def take_done(self) -> list[dict[str, Any]]:
        """Return and forget the lines about statements that are over."""
        done, self.done = self.done, []
        return done

    # -- answers to one question ---------------------------------------------------------------------------------------------

    def _head(self, answer: str, *kinds: Kind) -> Expected:
        head = self._shared.queue.head()
        if head is None or head.kind not in kinds:
            raise unexpected(answer)
        return head

    def _complete(self, found: Message) -> bytes:
        wanted = {"1": Kind.PARSE, "2": Kind.BIND, "3": Kind.CLOSE}[found.kind]
        head = self._head(found.kind, wanted)
        if head.denial and not head.trial:
            raise unexpected(found.kind)
        self._shared.queue.pop()
        if head.name is not None:
            space, name = head.name
            if space == "S":
                self._shared.statements.confirm(name, head.prepared)
            else:
                self._shared.portals.confirm(name, head.portal)
        return b"" if head.silent or head.trial else found.raw

    def _parameters(self, found: Message) -> bytes:
        head = self._head("t", Kind.DESCRIBE_STATEMENT)
        types = messages.read_parameter_types(found.body)
        if head.prepared is not None:
            head.prepared.types = types
        return b"" if head.silent else found.raw

    def _columns(self, found: Message) -> bytes:
        head = self._head(found.kind, Kind.QUERY, Kind.DESCRIBE_STATEMENT, Kind.DESCRIBE_PORTAL)
        if head.kind is Kind.QUERY:
            run = self._running(head, found.kind)
            self._mask = self.result(found.body, run)
            self._fields = self.described(found.body)
            return found.raw
        self._shared.queue.pop()
        fields = self.described(found.body) if found.kind == "T" else ()
        if head.described is not None:
            head.described.fields = fields
        if head.kind is Kind.DESCRIBE_STATEMENT and head.prepared is not None:
            head.prepared.fields, head.prepared.described = fields, True
        if head.kind is Kind.DESCRIBE_PORTAL and head.portal is not None:
            head.portal.fields, head.portal.described = fields, True
        return b"" if head.silent else found.raw

    def result(self, body: bytes, run: Run) -> ResultMask:
        """Return the mask of a result. The last ones are kept, because clients repeat themselves."""
        known = self._results.get(body)
        if known is not None and known[0] is run.meaning.tagged:
            return known[1]
        return self._made(body, self.described(body), run)

    def _made(self, key: bytes | tuple[Field, ...], fields: tuple[Field, ...], run: Run) -> ResultMask:
        mask = self._masks.result(fields, run.meaning)
        if len(self._results) >= _RESULTS_KEPT:
            self._results.clear()
        self._results[key] = (run.meaning.tagged, mask)
        return mask

    def portal(self, fields: tuple[Field, ...], run: Run) -> ResultMask:
        """Return the mask of what a portal returns."""
        known = self._results.get(fields)
        if known is not None and known[0] is run.meaning.tagged:
            return known[1]
        return self._made(fields, fields, run)

    def described(self, body: bytes) -> tuple[Field, ...]:
        """Return the columns of a RowDescription. The last ones are kept."""
        fields = self._descriptions.get(body)
        if fields is None:
            fields = messages.read_row_description(body)
            if len(self._descriptions) >= _RESULTS_KEPT:
                self._descriptions.clear()
            self._descriptions[body] = fields
        return fields

    def _rows(self, rows: Rows) -> bytes:
        head = self._head("D", Kind.QUERY, Kind.EXECUTE)
        if head.silent:
            self._shared.book.told(head.asks, _only_value(rows))
            return b""
        run = self._running(head, "D")
        if self._mask is None and head.kind is Kind.EXECUTE and head.portal is not None:
            self._fields = head.portal.columns()
            self._mask = self.portal(self._fields, run)
        if self._mask is None:
            raise unexpected("D")
        return self.masked(rows, run, self._mask, self._fields, head.portal)

    def masked(self, rows: Rows, run: Run, mask: ResultMask, fields: tuple[Field, ...], portal: Portal | None) -> bytes:
        """Return ``rows`` of ``run`` as the client may see them, and keep of them what the transcript holds."""
        shown, masked = mask.rows(rows)
        run.saw(shown, rows.count, masked)
        kept = run.kept or self._keeping(run, portal)
        if kept.room:
            kept.add(shown, fields)
        if kept.plain is not None and kept.plain.room:
            kept.plain.add(rows.raw, fields)
        return shown

    def _keeping(self, run: Run, portal: Portal | None) -> Kept:
        """Return what keeps the rows of ``run``: those of one portal share one limit, however few it is asked for at a time."""
        run.kept = (portal.kept if portal is not None else None) or self._new_kept()
        if portal is not None:
            portal.kept = run.kept
        return run.kept

    def _new_kept(self) -> Kept:
        kept = Kept(self.keep)
        if self._original is not None:
            kept.plain = Kept(self.keep)
        return kept

    def _command(self, found: Message) -> bytes:
        head = self._head(found.kind, Kind.QUERY, Kind.EXECUTE)
        if head.begins and found.kind == "C":
            head.begins = False
            return b""
        if head.denial:
            raise unexpected(found.kind)
        run = head.run
        if head.silent:
            self._shared.queue.pop()
            return b""
        if found.kind == "I" and not head.runs:
            if head.kind is Kind.EXECUTE:
                self._shared.queue.pop()
            return found.raw
        run = self._running(head, found.kind)
        if found.kind == "C":
            run.tag = messages.read_tag(found.body)
        head.at += 1
        self._over(run, "suspended" if found.kind == "s" else "ok")
        if head.kind is Kind.EXECUTE:
            self._shared.queue.pop()
        return found.raw

    def _ready(self, found: Message) -> bytes:
        head = self._head("Z", Kind.QUERY, Kind.SYNC)
        status = found.body.decode("latin-1")
        if status not in ("I", "T", "E"):
            raise unexpected("Z")
        self._shared.queue.pop()
        for segment in [*self._late, *([head.segment] if head.segment is not None else [])]:
            self._shared.statements.settle(segment[0])
            self._shared.portals.settle(segment[1])
        self._late = []
        self._shared.status = status
        self._shared.book.ended(status)
        if status == "I":
            # Portals live as long as their transaction (§55.2.3).
            self._shared.portals.clear()
            if not len(self._shared.queue):
                self._shared.book.nothing_open()
        if head.silent:
            if head.described is None:
                self._shared.book.answered(status)
            return b""
        return found.raw

    def _running(self, head: Expected, answer: str) -> Run:
        run = head.run
        if run is None or head.denial:
            raise unexpected(answer)
        return run

    def over(self, run: Run, outcome: str, now_ms: int, said: str = "", **more: Any) -> dict[str, Any]:
        """Return the transcript's line about ``run``, which has ended. ``said`` is the error's message as it came."""
        kept = run.kept.take([self._name(name, run) for name in run.kept.names]) if run.kept is not None else {}
        if self._original is not None:
            self._keep_original(run, outcome, kept, said if said != more.get("message", "") else "")
        return run.done(outcome, now_ms, **more, **kept)

    def _keep_original(self, run: Run, outcome: str, kept: dict[str, Any], said: str) -> None:
        """Keep what the line would say without masking, where that is anything else than what it says."""
        assert self._original is not None
        plain = run.kept.plain if run.kept is not None else None
        came = plain.take(plain.names) if plain is not None else {}
        if came == kept and not said:
            return
        entry = {"event": "done", "statement": run.number, "outcome": outcome, **came}
        self._original(entry | {"message": said} if said else entry)

    def _over(self, run: Run, outcome: str, said: str = "", **more: Any) -> None:
        self.done.append(self.over(run, outcome, self._now_ms, said, **more))
        self._mask = self._copy_mask = None
        if run.meaning.copy == "in":
            self._shared.end_copy()

    def _name(self, name: str, run: Run) -> str:
        """Return a column's name as the transcript may hold it: whoever asks chooses it, and may have put a value there."""
        return name if name_alone(name) else self._masks.text(name, run.meaning)

    # -- errors --------------------------------------------------------------------------------------------------------------

    def _error(self, found: Message) -> bytes:
        head = self._shared.queue.head()
        fields = reason(head, messages.read_fields(found.body))
        scrubbed = self._unasked.scrubbed(fields, head)
        shown = messages.fields("E", scrubbed)
        if head is None or head.kind is Kind.SYNC:
            # The server ends the connection (a shutdown, an administrator's command) and says why, or a commit failed.
            return shown
        failed = [head] if head.kind is Kind.QUERY else self._shared.queue.fail()
        for expected in failed:
            expected.forget()
        at_fault = failed[0]
        if head.described is not None and not head.described.apart:
            at_fault = next((each for each in failed if each.runs and each.described is head.described), head)
        for expected in failed:
            for run in expected.runs[expected.at :]:
                outcome = "error" if expected is at_fault and run is expected.runs[expected.at] else "skipped"
                extra = {"state": fields.get("C", ""), "message": scrubbed.get("M", "")}
                self._over(run, outcome, **({"said": fields.get("M", ""), **extra} if outcome == "error" else {}))
        head.failed = True
        self._shared.end_copy()
        self._mask = self._copy_mask = None
        fatal = fields.get("V", fields.get("S")) in ("FATAL", "PANIC")
        if head.described is not None:
            return b"" if head.silent and head.described.apart and not fatal else shown
        if head.silent and head.kind is not Kind.DESCRIBE_PORTAL:
            self._shared.book.failed()
            return b""
        return shown if fatal or about_the_text(head, fields) else head.denial or shown

    # -- COPY ----------------------------------------------------------------------------------------------------------------

    def _copy_in(self, found: Message) -> bytes:
        head = self._head("G", Kind.QUERY, Kind.EXECUTE)
        run = self._running(head, "G")
        if run.meaning.copy != "in" or self._shared.copy_in is not head:
            raise unexpected("G")
        self._late += [each.segment for each in self._shared.queue.copying() if each.segment is not None]
        self._shared.copying = True
        return found.raw

    def _copy_out(self, found: Message) -> bytes:
        head = self._head("H", Kind.QUERY, Kind.EXECUTE)
        run = self._running(head, "H")
        overall, formats = messages.read_copy(found.body)
        self._copy_binary = overall == 1
        if run.meaning.copy != "out":
            raise unexpected("H")
        described = head.described.fields if head.described is not None else None
        known = run.meaning.form.types if run.meaning.form is not None else ()
        self._copy_types = tuple(each.type for each in described) if described else known
        self._copy_mask = self._masks.copy(run.meaning, overall, len(formats), described)
        if self._copy_mask is None:
            raise Fault("not_supported", "This form of COPY cannot be masked, so it is not shown. Use the text format.")
        return found.raw

    def _copied_rows(self, copied: Copied) -> bytes:
        mask, run = self._copying_out("d")
        shown, masked = mask.messages(copied)
        self._keep_copied_plain(run, copied.raw)
        if shown:
            run.saw(shown, copied.count - (self._copy_binary and _marked(copied)), masked)
            self._keep_copied(run, shown)
        return shown

    def _keep_copied_plain(self, run: Run, framed: bytes) -> None:
        run.kept = run.kept or self._new_kept()
        plain = run.kept.plain
        if plain is not None and plain.room:
            plain.copied(framed, binary=self._copy_binary, types=self._copy_types)

    def _keep_copied(self, run: Run, framed: bytes) -> None:
        run.kept = run.kept or self._new_kept()
        if run.kept.room:
            run.kept.copied(framed, binary=self._copy_binary, types=self._copy_types)

    def _copy_done(self, found: Message) -> bytes:
        mask, run = self._copying_out("c")
        return self._copied(run, *mask.end()) + found.raw

    def _copying_out(self, answer: str) -> tuple[CopyMask, Run]:
        run = self._running(self._head(answer, Kind.QUERY, Kind.EXECUTE), answer)
        if self._copy_mask is None:
            raise unexpected(answer)
        return self._copy_mask, run

    def _copied(self, run: Run, shown: bytes, masked: int) -> bytes:
        if not shown:
            return b""
        run.saw(shown, 1, masked)
        framed = messages.message("d", shown)
        self._keep_copied(run, framed)
        return framed


def _marked(copied: Copied) -> bool:
    """Return whether the last message of a COPY in binary is no row but the mark behind them."""
    return len(copied.raw) - int(copied.starts[-1]) == 7 and copied.raw.endswith(b"\xff\xff")


def name_alone(name: str) -> bool:
    """Return True for a column's name that holds no value, whoever chose it."""
    return len(name) < _NAME_ALONE and name.isidentifier()


def _only_value(rows: Rows) -> str:
    """Return the one value of the one row that the gateway asked for."""
    (body,) = rows.bodies() if rows.count == 1 else (b"",)
    if body[:2] != b"\0\1" or int.from_bytes(body[2:6]) != len(body) - 6:
        raise Malformed
    return messages.decoded(body[6:])


def unexpected(answer: str) -> Fault:
    """Return the fault of a server that says what it was not asked."""
    return Fault("target_protocol", "The target sent an answer that nobody asked for.", detail=f"message {answer!r}")
