"""The agent's only asyncio: sockets, the tunnel, the spool, the uploader, the control plane."""
