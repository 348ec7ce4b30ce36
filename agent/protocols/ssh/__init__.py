"""SSH: exec, recorded shells and file transfer for unmodified OpenSSH clients."""
