"""Steps that build and prepare; nothing here is deployed."""
