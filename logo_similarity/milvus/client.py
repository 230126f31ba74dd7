"""What this project uses of pymilvus. Import it inside functions: it needs the extra `milvus`, and takes a second."""

from __future__ import annotations

import os

_NAME = "PYTHON_DOTENV_DISABLED"
_before = os.environ.get(_NAME)

# While pymilvus is imported, it would load the first `.env` file in the folders above it into the environment.
os.environ[_NAME] = "1"
try:
    from pymilvus import CollectionSchema, DataType, MilvusClient
    from pymilvus.exceptions import MilvusException
    from pymilvus.milvus_client.index import IndexParams
finally:
    if _before is None:
        del os.environ[_NAME]
    else:
        os.environ[_NAME] = _before

__all__ = ["CollectionSchema", "DataType", "IndexParams", "MilvusClient", "MilvusException"]
