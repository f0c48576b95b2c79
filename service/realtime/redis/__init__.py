"""Rooms in Redis or Valkey, shared by all processes that name the same server."""
