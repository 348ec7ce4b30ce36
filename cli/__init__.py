"""The command line: how engineers, auditors and the platform team use the gateway."""
