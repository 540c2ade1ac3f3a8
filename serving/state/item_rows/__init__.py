"""The rows of live items, in SQLite and in a Redis."""

from serving.state.item_rows.redis import RedisItemRows
from serving.state.item_rows.sqlite import SqliteItemRows

__all__ = ["RedisItemRows", "SqliteItemRows"]
