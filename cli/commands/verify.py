"""``verify``: prove evidence offline, from a copy of the bucket or the bucket itself, with public keys alone."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from chalicelib.contracts.faults import EXIT_EVIDENCE, Fault
from cli.moments import now_ms, parse_day
from cli.progress import Progress
from cli.screen import say, say_json
from cli.verification import show
from cli.verification.audit import Wanted, Watch
from cli.verification.audit import verify as run
from cli.verification.findings import Report
from cli.verification.log import load_keys
from cli.verification.sources import LOG, Folder, Source

_FILE_LIMIT: Final = 1 << 20


@click.command()
@click.argument("sid", metavar="[SESSION]", required=False, default="")
@click.option("--day", metavar="DAY", help="Every session of a UTC day: today, yesterday, 2026-11-20.")
@click.option("--all", "everything", is_flag=True, help="The whole log, and every session.")
@click.option(
    "--since",
    metavar="CHECKPOINT",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A checkpoint that you kept: today's log must begin with it. Alone: verify what is new since then.",
)
@click.option("--from", "place", metavar="WHERE", required=True, help="A folder with the bucket's layout, or s3://BUCKET.")
@click.option(
    "--keys",
    "key_file",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Public keys that you trust: the gateway's, and witnesses'; one on a line.",
)
@click.option(
    "--witness-bucket", "second", metavar="WHERE", help="The second bucket where checkpoints are copied to, or a folder."
)
@click.option(
    "--save",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep the log's newest checkpoint, if nothing contradicts. Use it with --since next time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    sid: str,
    day: str | None,
    everything: bool,
    since: Path | None,
    place: str,
    key_file: Path,
    second: str | None,
    save: Path | None,
    as_json: bool,
) -> int:
    """Prove that recordings are whole, unchanged and in the log. Needs no gateway and no login.

    Checks every chunk's hash, the chain through them, the manifest's signature, that the log holds the manifest, that the log
    is one history and begins with every checkpoint that was ever signed, kept or witnessed, and that nothing is missing on
    either side. Exit status 7 if anything contradicts.

    \b
    Examples:
      sallyport verify --all --from ./evidence --keys gateway.keys
      sallyport verify 7X5B1HR --from s3://my-recordings --keys gateway.keys
      sallyport verify --day yesterday --from ./evidence --keys gateway.keys --json
      sallyport verify --all --from s3://my-recordings --witness-bucket s3://their-checkpoints --keys gateway.keys
      sallyport verify --since last.checkpoint --save last.checkpoint --from ./evidence --keys gateway.keys

    \b
    The gateway's key, once, from somebody you trust:
      curl https://gateway.example.com/trust | jq -r .log_key > gateway.keys
    """
    if sum((bool(sid), day is not None, everything)) > 1:
        raise click.UsageError("SESSION, --day and --all: choose one.")
    if not (sid or day or everything or since):
        raise click.UsageError("Say what to verify: a SESSION, --day, --all or --since.")
    keys = load_keys(_small(key_file).decode("utf-8", "replace"), str(key_file))
    wanted = Wanted(
        session=sid,
        day=parse_day(day, now_ms()) if day else "",
        whole=everything,
        saved=_small(since) if since else b"",
        saved_name=str(since or ""),
        second=_source(second) if second else None,
    )
    source = _source(place)
    with _watching() as watch:
        report = run(source, keys, wanted, watch)
    if as_json:
        say_json({"ok": report.ok, **{name: getattr(report, name) for name in report.__struct_fields__}})
    else:
        for line in show.lines(report):
            say(line)
    if not report.ok:
        return EXIT_EVIDENCE
    if save:
        _keep(source, save, report)
    return 0


def _source(place: str) -> Source:
    if place.startswith("s3://"):
        from cli.verification.bucket import Bucket

        return Bucket.at(place)
    return Folder(Path(place))


@contextlib.contextmanager
def _watching() -> Iterator[Watch]:
    """Yield a watch that shows one progress line after another."""
    with contextlib.ExitStack() as lines:
        now: list[Progress] = []

        def began(label: str, total: int) -> None:
            lines.pop_all().close()
            now[:] = [lines.enter_context(Progress(label, total))]

        yield Watch(began, lambda amount: now[0].advance(amount))


def _small(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(_FILE_LIMIT + 1)
    if len(raw) > _FILE_LIMIT:
        raise Fault("too_large", f"{path} is not a file of keys or a checkpoint.")
    return raw


def _keep(source: Source, path: Path, report: Report) -> None:
    raw = source.read(f"{LOG}checkpoint")
    if raw is None or not report.size:
        raise Fault("not_found", "There is no checkpoint to keep.")
    # A kept checkpoint is worth more than the new one, until the new one is whole.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "wb") as file:
        file.write(raw)
    Path(name).replace(path)
