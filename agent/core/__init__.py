"""The sans-io core of the agent."""
