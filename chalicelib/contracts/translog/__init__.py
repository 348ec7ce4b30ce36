"""The transparency log: what both planes, and an auditor who trusts neither, must agree on to the byte.

    merkle       RFC 6962 tree hashes, inclusion and consistency proofs, and their verification
    tiles        how the tree lies in a bucket (https://c2sp.org/tlog-tiles)
    notes        texts with signatures under them (https://c2sp.org/signed-note), and the keys that check them
    checkpoints  the statement of a tree's size and root (https://c2sp.org/tlog-checkpoint), cosignatures of witnesses
                 (https://c2sp.org/tlog-cosignature) and self-contained proofs (https://c2sp.org/tlog-proof)
    leaves       which bytes of an audit event the log commits to

Nothing here reads, writes or signs: hashes are fetched by a function that the caller brings.
"""
