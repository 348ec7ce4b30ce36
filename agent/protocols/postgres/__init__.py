"""PostgreSQL: the frontend/backend protocol version 3, decided, recorded and masked statement by statement."""
