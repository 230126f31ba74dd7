"""API keys: what is known of them, where that lies, and how often each was used."""
