"""From the bytes of an image file to the array that an encoder takes: one path for index and query."""
