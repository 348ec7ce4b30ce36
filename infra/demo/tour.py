"""The tour: the main job from the first login to the replay, each step checked. A step that differs makes the demo fail."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import time
import urllib.request
from pathlib import Path

import pexpect

from infra.demo.patience import HANG_S
from infra.demo.screen import Screen
from infra.demo.stack import Person, Stack

#: What alice may see of the customers: name, contact, card, note.
MASKED = [
    ["Ada", "A***@***.COM", "**** **** **** 1111", "prefers to be called"],
    ["Grace", "G***@***.COM", "**** **** **** 0004", "moved; write to g***@***.org"],
    ["Edsger", "E***@***.COM", "**** **** **** 1881", "no phone"],
]


class Tour:
    """Plays the steps in order on a stack whose cloud and target are up."""

    def __init__(self, stack: Stack, screen: Screen) -> None:
        self.stack = stack
        self.screen = screen
        self.alice = stack.person("alice")
        self.bob = stack.person("bob")
        self.carol = stack.person("carol")
        self.pat = stack.person("pat")

    def play(self) -> None:
        """Play every step."""
        self.prepare()
        self.login()
        self.list_targets()
        self.run_a_command()
        self.refuse_a_command()
        self.ask_others()
        self.open_a_shell()
        self.use_a_database()
        self.look_back()
        self.verify()

    def prepare(self) -> None:
        """Step 0: what the platform team does once."""
        self.screen.title(0, "The platform team enrols an agent and applies the policies")
        self._login(self.pat)
        token = self._as(self.pat, "sallyport agent-token edge-1 --json", show=False)
        self.screen.said("edge-1: a one-time token, used at once on the agent's machine")
        self.stack.start_agent(json.loads(token.stdout)["token"])
        self.stack.until_online(self.pat)
        folder = self.stack.write_gateway()
        self._as(self.pat, f"sallyport plan {folder}", typed="sallyport plan gateway/")
        done = self._as(self.pat, f"sallyport apply --yes {folder}", typed="sallyport apply gateway/", limit=5)
        self.screen.check(done.returncode == 0, "the policies are in force", done.stderr)
        aws = [name for name in self.stack.agent_environment() if name.startswith("AWS_")]
        self.screen.check(not aws, "the agent's process holds no AWS credential", aws)

    def login(self) -> None:
        """Step 1."""
        self.screen.title(1, "alice logs in through the identity provider (OpenID Connect, code + PKCE)")
        done = self._login(self.alice)
        who = self._as(self.alice, "sallyport whoami")
        self.screen.check(done.returncode == 0 and "alice@example.com" in who.stdout, "alice is alice@example.com", who.stderr)

    def list_targets(self) -> None:
        """Step 2."""
        self.screen.title(2, "What may she use?")
        done = self._as(self.alice, "sallyport ls")
        self.screen.check(
            "prod-web" in done.stdout and "ssh prod-web" in done.stdout, "prod-web, and how to reach it", done.stderr
        )
        self._login(self.bob, show=False)
        nothing = self._as(self.bob, "sallyport ls")
        self.screen.check("prod-web" not in nothing.stdout, "bob, who is not on the sre team, sees nothing of it")

    def run_a_command(self) -> None:
        """Step 3."""
        self.screen.title(3, "A command travels the whole way, with the stock OpenSSH client")
        self._as(self.alice, "sallyport ssh-config --write")
        done = self._as(self.alice, "ssh prod-web 'uname -a'")
        self.screen.check(done.returncode == 0 and platform.node() in done.stdout, "the target answered", done.stderr)
        self.screen.check("warning" not in done.stderr.lower(), "the client neither warned nor trusted blindly", done.stderr)
        secret = self.stack.target.credential.read_text().splitlines()[1]
        found = [path for path in self.alice.folder.rglob("*") if path.is_file() and secret in path.read_text(errors="replace")]
        self.screen.check(not found, "alice holds no credential of the target", found)

    def refuse_a_command(self) -> None:
        """Step 4."""
        data = self.stack.target.data
        self.screen.title(4, "Policy refuses before the command reaches the host")
        done = self._as(self.alice, f"ssh prod-web 'rm -rf {data}'")
        self.screen.check(done.returncode == 126, "exit status 126", done.returncode)
        self.screen.check("change ticket" in done.stderr, "the policy's own words on stderr", done.stderr)
        self.screen.check(self.stack.target.intact(), f"{data} is still there, byte for byte")
        refused = self._as(self.bob, "sallyport connect --stdio prod-web")
        self.screen.check(refused.returncode == 126, "bob does not even get a session", refused.stderr)

    def ask_others(self) -> None:
        """Step 5."""
        self.screen.title(5, "A command waits for somebody else, and goes on by itself")
        data, link = self.stack.target.data, f"{self.stack.target.data}.current"
        self.stack.target.ask("rm", "-f", link)
        command = f"ln -sfn {data} {link} && readlink {link}"
        self.screen.typed("alice", f"ssh prod-web '{command}'")
        waiting = self.alice.start(["ssh", "prod-web", command])
        assert waiting.stderr is not None
        # Her own words while she waits name the request; nothing has happened yet.
        line = next((each for each in waiting.stderr if "/approvals/req_" in each), "")
        self.screen.said(line)
        untouched = self.stack.target.ask("readlink", link).returncode != 0
        self.screen.check(bool(line) and untouched, "alice waits, and nothing has happened on the target", line)
        rid = line.partition("/approvals/")[2].split(" ")[0]
        agreed = self._as(self.bob, f"sallyport approve {rid} --yes")
        out, err = waiting.communicate(timeout=HANG_S)
        self.screen.said(out + err)
        self.screen.check(
            agreed.returncode == waiting.returncode == 0
            and out.strip() == self.stack.target.ask("readlink", link).stdout.strip() == str(data),
            "bob, a DBA, agrees, and her command runs by itself",
            agreed.stderr + err,
        )
        self.stack.target.ask("rm", "-f", link)

    def open_a_shell(self) -> None:
        """Step 6."""
        self.screen.title(6, "An interactive shell, every line of it decided: resize, vi, completion, Ctrl-C, exit status")
        self.screen.typed("alice", "ssh prod-web")
        shell = Shell(self.alice)
        try:
            said = "" if shell.ready else f"{shell.seen}\nsshd: {self.stack.target.last_words()}"
            self.screen.check(shell.ready, "the shell opens", said)
            if not shell.ready:
                return
            self.screen.check(shell.says(r"stty size", r"24 80"), "the terminal has its size", shell.seen)
            shell.resize(30, 100)
            self.screen.check(shell.says(r"stty size", r"30 100"), "a resize arrives", shell.seen)
            self.screen.check(shell.completes(), "tab completion completes", shell.seen)
            self.screen.check(shell.edits(), "vi opens, edits and saves", shell.seen)
            self.screen.check(shell.interrupts(), "Ctrl-C interrupts", shell.seen)
            refused = shell.says("cd / && rm -r srv/data", "second pair of eyes") and shell.says("echo still-$((1+1))", "still-2")
            self.screen.check(refused, "a line that policy forbids is refused before it runs, and the shell goes on", shell.seen)
            self.screen.check(shell.leaves(7) == 7, "exit 7 arrives as exit status 7", shell.seen)
        finally:
            shell.close()

    def use_a_database(self) -> None:
        """Step 7."""
        self.screen.title(7, "A real PostgreSQL, with stock psql: masked, refused, allowed")
        self.stack.database.wait()
        shown = self._sql("select name, upper(mail) as contact, card, note from customers order by id")
        rows = [[cell.strip() for cell in line.split("|")] for line in shown.stdout.splitlines() if "|" in line]
        right = shown.returncode == 0 and rows[1:] == MASKED
        self.screen.check(right, "tagged columns are masked, whatever the query calls them", rows or shown.stderr)
        self.screen.check("grace.h" not in shown.stdout, "so is an address in a column that nobody tagged: a detector knows it")
        refused = self._sql("drop table customers")
        self.screen.check(
            refused.returncode == 1 and "reviewed migration" in refused.stderr and "no-dropped-tables" in refused.stderr,
            "DROP TABLE fails like an error of PostgreSQL's own, in the policy's words, with its rule",
            refused.stderr,
        )
        done = self._sql("update customers set note = 'called back' where id = 3")
        self.screen.check(done.stdout.strip() == "UPDATE 1", "an update that policy permits is made", done.stderr)
        kept = self.stack.database.ask("select count(*) || ' ' || max(note) filter (where id = 3) from customers")
        self.screen.check(kept == "3 called back", "the database itself says so", kept)
        password = self.stack.database.password
        found = [path for path in self.alice.folder.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
        self.screen.check(not found, "alice holds no password of the database", found)

    def _sql(self, statement: str) -> subprocess.CompletedProcess[str]:
        return self._as(self.alice, f'sallyport connect prod-db -- psql -c "{statement}"')

    def look_back(self) -> None:
        """Step 8."""
        self.screen.title(8, "What happened? Denied attempts included")
        self._login(self.carol, show=False)
        self._until_recorded()
        listing = self._as(self.carol, "sallyport sessions")
        sessions = json.loads(self._as(self.carol, "sallyport sessions --json", show=False).stdout)["sessions"]
        mine = [each for each in sessions if each["principal"] == "alice@example.com"]
        self.screen.check(
            "denied" in listing.stdout and any(each["state"] == "denied" for each in sessions), "bob's attempt is there"
        )
        self.screen.check(any(each.get("denied") for each in mine), "so is the refused rm -rf")
        self._replay_sql([each["sid"] for each in mine if each["target"] == "prod-db"])
        shells = [each for each in mine if each["target"] == "prod-web"]
        shell = max(shells, key=lambda each: each.get("operations", 0))  # a command has one, a shell one for each line
        text = self._as(self.alice, f"sallyport replay {shell['sid']} --speed 1000", typed=f"sallyport replay {shell['sid']}")
        self.screen.check("stty size" in text.stdout and "30 100" in text.stdout, "the replay shows the shell", text.stderr)
        self.screen.typed("carol", f"aws s3 ls --recursive s3://{self.stack.bucket}/recordings/")
        objects = self.stack.recordings()
        for key, size in objects[-8:]:
            self.screen.said(f"{size:>8}  {key}")
        mine_stored = [key for key, _ in objects if key.startswith(shell["recording"]) and key.endswith(".zst")]
        self.screen.check(
            len(mine_stored) == shell["chunks"] > 0, "every registered chunk lies under its browsable key", mine_stored
        )

    def verify(self) -> None:
        """Step 9."""
        self.screen.title(9, "Is it true? Proved offline, from a copy of the bucket")
        self._until_sealed()
        folder, keys = self.carol.folder / "evidence", self.carol.folder / "gateway.keys"
        with urllib.request.urlopen(f"{self.stack.url}/trust", timeout=HANG_S) as page:  # noqa: S310
            keys.write_text(json.load(page)["log_key"] + "\n")
        self.screen.typed("carol", f"curl -s {self.stack.url}/trust | jq -r .log_key > gateway.keys")
        self.screen.typed("carol", f"aws s3 sync s3://{self.stack.bucket} evidence/")
        self.stack.copy_bucket(folder)
        whole = self._verify(folder, keys)
        self.screen.check(whole.returncode == 0, "what lies in the bucket is what was recorded, all of it", whole.stderr)
        chunk = max(folder.glob("recordings/*/*/*/prod-db/*/*/*.zst"))
        raw = bytearray(chunk.read_bytes())
        raw[len(raw) // 2] ^= 1
        chunk.write_bytes(raw)
        self.screen.note("Somebody changes one bit of one recording:")
        altered = self._verify(folder, keys, after="Contradicted")
        self.screen.check(
            altered.returncode == 7 and str(chunk.relative_to(folder)) in altered.stdout,
            "one changed bit is found, and named: exit status 7",
            altered.stdout + altered.stderr,
        )

    def _verify(self, folder: Path, keys: Path, after: str = "") -> subprocess.CompletedProcess[str]:
        self.screen.typed("carol", "sallyport verify --all --from evidence/ --keys gateway.keys")
        done = self.carol.run(["sallyport", "verify", "--all", "--from", str(folder), "--keys", str(keys)])
        # What was not proved, and why, is for auditors; the last line says what all of it means.
        shown, _, rest = done.stdout[done.stdout.find(after) :].partition("\n\nNot proved\n")
        verdict = rest.rstrip().splitlines()[-1:]
        self.screen.said("\n".join([shown, *verdict]) + done.stderr)
        return done

    def _replay_sql(self, sids: list[str]) -> None:
        said = ""
        for sid in reversed(sids):
            said += self._as(self.alice, f"sallyport replay {sid}").stdout
        expected = ["3 rows, 7 values masked", "denied", "drop table customers", "reviewed migration", "UPDATE 1"]
        self.screen.check(
            all(words in said for words in expected) and "example.com" not in said.lower(),
            "the transcripts say what was asked, decided, shown and masked",
            said,
        )

    def _login(self, person: Person, show: bool = True) -> subprocess.CompletedProcess[str]:
        if show:
            self.screen.typed(person.name, f"sallyport login --url {self.stack.url}")
        done = person.login(self.stack.url)
        if show or done.returncode:
            self.screen.said(done.stdout)
        if done.returncode:
            self.screen.check(False, f"{person.name} can log in")
        return done

    def _as(
        self, person: Person, line: str, show: bool = True, typed: str = "", limit: int = 30
    ) -> subprocess.CompletedProcess[str]:
        if show:
            self.screen.typed(person.name, typed or line)
        done = person.run(shlex.split(line))
        if show:
            self.screen.said(done.stdout + done.stderr, limit)
        return done

    def _until_recorded(self) -> None:
        # The last chunk of a session is uploaded while its client already has its prompt back.
        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline:
            sessions = json.loads(self._as(self.carol, "sallyport sessions --json", show=False).stdout)["sessions"]
            if not any(each["state"] in {"live", "offered"} for each in sessions):
                return
        self.screen.check(False, "the sessions end")

    def _until_sealed(self) -> None:
        # The proof of a manifest is the last thing that is written, once the log holds it.
        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline:
            keys = [key for key, _ in self.stack.recordings()]
            folders = {key.rpartition("/")[0] for key in keys}
            if all(f"{folder}/session.tlog-proof" in keys for folder in folders):
                return
            time.sleep(0.1)
        self.screen.check(False, "every recording is sealed", folders)


class Shell:
    """An interactive ``ssh prod-web`` in a pseudo-terminal, driven as a person would."""

    def __init__(self, person: Person) -> None:
        words = person.command(["ssh", "prod-web"])
        environment = person.environment | {"TERM": "xterm-256color"}
        self.process = pexpect.spawn(
            words[0], words[1:], env=environment, dimensions=(24, 80), encoding="utf-8", codec_errors="replace", timeout=HANG_S
        )
        self.seen = ""
        # The arithmetic keeps the echo of what is typed apart from what the shell answers.
        self.ready = self._expect_after("echo ready-$((40+2))", "ready-42")

    def says(self, line: str, answer: str) -> bool:
        """Type ``line`` and wait for ``answer``."""
        return self._expect_after(line, answer)

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size."""
        self.process.setwinsize(rows, columns)

    def completes(self) -> bool:
        """``ls /etc/hostna<Tab>`` names the file."""
        self.process.send("echo got-$(cat /etc/hostna\t | wc -l)\r")
        return self._expect(r"got-[1-9]")

    def edits(self) -> bool:
        """Write a line with vi and read it back."""
        self.process.send("rm -f /tmp/.sallyport-tour; vi /tmp/.sallyport-tour\r")
        self._expect(r'tour"')
        self.process.send("ihello from vi\x1b")
        self.process.send(":wq\r")
        # What is typed before vi has put the terminal back may be lost with it.
        self._expect(r"[$#%>] (\x1b\[[?0-9]*[a-zA-Z])*$")
        return self._expect_after("tr a-z A-Z < /tmp/.sallyport-tour; rm -f /tmp/.sallyport-tour", "HELLO FROM VI")

    def interrupts(self) -> bool:
        """Ctrl-C ends a sleep that would outlast the tour."""
        self.process.send("echo begun-$((1+1)); sleep 600\r")
        self._expect("begun-2")
        self.process.send("\x03")
        return self._expect_after("echo back-$((2+2))", "back-4")

    def leaves(self, status: int) -> int:
        """Exit with ``status`` and return what ssh exited with."""
        self.process.send(f"exit {status}\r")
        self._expect(pexpect.EOF)
        self.process.close()
        return int(self.process.exitstatus if self.process.exitstatus is not None else -1)

    def close(self) -> None:
        """End the client, whatever state it is in."""
        self.process.close(force=True)

    def _expect_after(self, line: str, answer: str) -> bool:
        self.process.send(line + "\r")
        return self._expect(answer)

    def _expect(self, what: str | type[pexpect.EOF]) -> bool:
        try:
            self.process.expect(what)
        except (pexpect.TIMEOUT, pexpect.EOF):
            self.seen = str(self.process.before)[-400:]
            return False
        return True
