"""From the bytes of an image file to the input of an encoder: the same path for index and query."""
