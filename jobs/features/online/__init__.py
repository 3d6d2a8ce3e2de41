"""The online store of features: in SQLite, Redis or DynamoDB, by its URL."""

from jobs.features.online.lookup import LookedUp
from jobs.features.online.store import OnlineStore

__all__ = ["LookedUp", "OnlineStore"]
