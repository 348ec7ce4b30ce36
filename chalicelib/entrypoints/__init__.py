"""The ways in: HTTP blueprints, and what app.py delegates WebSocket and schedule events to."""
