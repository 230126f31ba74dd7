"""API keys: their document, its store, lookup, rate limits and quotas."""
