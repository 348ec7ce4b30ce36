"""Lines of fish's own grammar, typed and pasted at a guarded prompt under the rule that the docs advise: allowed, and run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.integration.ssh.conftest import Sshd
from tests.integration.ssh.many import Many
from tests.integration.ssh.test_denied_often import GUARDED, PERMIT, READY
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

HOWTO: Final = Path(__file__).parents[3] / "docs" / "howto" / "shells.md"


class Line(NamedTuple):
    """What is entered, the line that is decided for it, and what it says."""

    keys: str
    text: str
    says: str


def one(text: str, says: str) -> Line:
    return Line(text + "\r", text, says)


def pasted(text: str, says: str) -> Line:
    return Line(f"\x1b[200~{text}\x1b[201~\r", text, says)


LINES = [
    one("for f in *.log; wc -l $f; end", "1 b.log"),
    one("if test -f a.log; cat a.log; else; echo no; end", "first"),
    one("if test -f nosuch\n    echo yes\nelse if test -f a.log\n    echo sec''ond\nend".replace("\n", "; "), "second"),
    one("while read -l l; echo $l''-read; end < a.log", "first-read"),
    one("switch (cat a.log); case sec 'fir*'; echo matc''hed; case '*'; echo no; end", "matched"),
    one("begin; echo gro; echo up; end | string join ''", "group"),
    one("not test -f nosuch; and echo no''t-there; or echo no", "not-there"),
    one("test -f nosuch; or echo no''ne", "none"),
    one("! test -f nosuch && echo ba''ng", "bang"),
    one("echo (count *.log)-files", "2-files"),
    one('echo "$(cat a.log) quo"ted', "first quoted"),
    one("set x on tw; set -l y (count $x); echo $x[2]o-$y", "two-2"),
    one("string replace -r '(.)rst' '$1ve' (cat a.log)", "five"),
    one("math 6 x 7 + 4200", "4242"),
    one("diff (sort a.log | psub) (sort a.log | psub); and echo sa''me", "same"),
    one("echo it\\'s 'it\\'s' \\x41\\u0042", "it's it's AB"),
    one("for i in (seq 2); echo $i-$i; end > c.out; cat c.out", "2-2"),
    one("echo th{is,at} | tr ' ' +", "this+that"),
    one("echo er''ror >&2 2>| cat", "error"),
    one("set -q nosuch; or set -gx own 5; env | string match 'own*'", "own=5"),
    Line("for i in 1 2\recho $i-th\rend\r", "for i in 1 2\necho $i-th\nend", "2-th"),
    Line("if true\rfor i in 3 4\recho $i-nested\rend\relse\recho no\rend\r",
         "if true\nfor i in 3 4\necho $i-nested\nend\nelse\necho no\nend", "4-nested"),
    Line("begin\recho rows \\\rjoined\rend\r", "begin\necho rows \\\njoined\nend", "rows joined"),
    pasted("for i in 1 2\n    if test $i = 2\n        echo $i-pasted # not 1\n    end\nend", "2-pasted"),
    pasted("switch x\n    case y\n        echo no\n    case '*'\n        echo def''ault\nend", "default"),
    pasted("set n 0\nwhile test $n -lt 3\n    set n (math $n + 1)\nend\necho $n-times", "3-times"),
]  # fmt: skip


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Many]:
    found = shutil.which("fish")
    if found is None:
        pytest.fail("missing: apt-get install fish (make setup does)")
    server = Sshd(tmp_path_factory.mktemp("fish"), shell=found)
    (server.home / "a.log").write_text("first\n")
    (server.home / "b.log").write_text("x\n")
    shells = Many(server, PERMIT, shell="guarded")
    yield shells
    shells.close()
    server.stop()


def test_the_rule_is_the_one_that_the_docs_advise() -> None:
    assert PERMIT.partition("unless")[2] in HOWTO.read_text()


@pytest.mark.parametrize("line", LINES, ids=[each.text for each in LINES])
def test_it_is_allowed_and_runs(many: Many, line: Line) -> None:
    with many.row(greeting=GUARDED, ready=READY) as row:
        row.child.send("cd\r")
        assert row.settle(READY, HANG_S)
        row.child.send(line.keys)
        row.child.expect_exact(f"{line.says}\r\n")
        row.close()
        assert row.denied == 0
        assert line.text in [each["text"] for each in row.commands]
