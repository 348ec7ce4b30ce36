"""Wiring only: the Chalice application. Blueprints carry HTTP; every other function must be declared in this file."""

from __future__ import annotations

from typing import Any

from chalice.app import Chalice, Rate

from chalicelib.entrypoints import agents, config, login, people, schedules, websocket

app = Chalice(app_name="sallyport")
app.experimental_feature_flags.update(["WEBSOCKETS"])
for blueprint in (login.bp, people.bp, config.bp, agents.bp):
    app.register_blueprint(blueprint)


@app.on_ws_connect()
def connect(event: Any) -> dict[str, Any]:
    """A WebSocket opens."""
    return websocket.connect(event.to_dict())


@app.on_ws_message()
def message(event: Any) -> dict[str, Any]:
    """A WebSocket says something."""
    return websocket.message(event.to_dict())


@app.on_ws_disconnect()
def disconnect(event: Any) -> dict[str, Any]:
    """A WebSocket is gone."""
    return websocket.disconnect(event.to_dict())


@app.schedule(Rate(1, unit=Rate.MINUTES))
def reap(event: Any) -> None:
    """Every minute: end what nobody else will."""
    schedules.reap()
