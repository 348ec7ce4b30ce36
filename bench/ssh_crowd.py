"""Many people, each in a session of their own with a terminal that nothing happens in.

python -m bench.ssh_crowd PORT KNOWN_HOSTS COUNT      prints a line once all have seen an echo, and stays until its input ends
"""

from __future__ import annotations

import asyncio
import sys

import asyncssh
import uvloop

#: Handshakes at once.
TOGETHER = 8


async def main(port: int, known_hosts: str, count: int) -> None:
    """Come, look at an echo, and wait."""
    door = asyncio.Semaphore(TOGETHER)
    people: list[asyncssh.SSHClientConnection] = []

    async def come() -> None:
        async with door:
            person = await asyncssh.connect(
                "127.0.0.1", port, username="web", known_hosts=known_hosts, client_keys=None, agent_path=None, config=None,
                encryption_algs=["aes128-gcm@openssh.com"],
            )  # fmt: skip
            people.append(person)
            program = await person.create_process("cat", term_type="xterm", term_size=(80, 24))
            program.stdin.write("ready\n")
            await program.stdout.readuntil("ready")

    try:
        await asyncio.gather(*(come() for _ in range(count)))
        print(f"{count} are here", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    finally:
        for person in people:
            person.abort()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
