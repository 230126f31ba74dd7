"""Watches: who has one is told of new and changed marks that resemble theirs, and of changes to the marks themselves."""
