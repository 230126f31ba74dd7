"""Watches: their owners are alerted to new and changed marks that resemble theirs, and to changes of their own marks."""
