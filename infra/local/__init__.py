"""The embedded cloud: everything Sallyport needs from AWS and an identity provider, in one process.

Start reading at `cloud.py`. Nothing here ships to Lambda or to an agent.
"""
