"""Verifying evidence offline: a copy of the bucket, or the bucket itself, and public keys are all that is trusted.

sources     where the evidence lies: a folder with the bucket's layout, or s3://BUCKET (bucket)
findings    what was proved, what was not, and what contradicts
log         the transparency log: signatures, root, history, saved and witnessed checkpoints
sessions    one session's folder: manifest, signature, chain, and what the log says of it
hashing     the bytes of chunks, in parallel
audit       the whole: which sessions, and orphans both ways
show        the report for a person
"""
